// A view whose code is loaded when it is first shown, so that the table need not wait for charts.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Loading, ProblemNote } from "./basic";

export function lazy(load: () => Promise<ComponentType>): ComponentType {
  let loaded: ComponentType | null = null;
  return function Lazy() {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (loaded) return;
      load().then(
        (view) => {
          loaded = view;
          redraw((before) => before + 1);
        },
        () => setFailed(true),
      );
    }, []);
    if (failed)
      return (
        <ProblemNote
          problem={{ message: "This part of the page could not be loaded.", hint: "Is the server still running? Reload the page.", field: null, position: null }}
        />
      );
    const View = loaded;
    return View ? <View /> : <Loading what="the view" />;
  };
}
