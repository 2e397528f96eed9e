// The keys of what is shown.
import { Dialog } from "./parts/basic";
import { bindings } from "./state/keys";

export function Help({ close }: { close: () => void }) {
  return (
    <Dialog title="Keys" close={close}>
      <dl class="keys">
        {bindings().map(({ keys, help }) => (
          <div key={keys}>
            <dt>
              {keys.split(" | ").map((key, at) => (
                <span key={key}>
                  {at > 0 && " or "}
                  {key.split(" ").map((one) => (
                    <kbd key={one}>{NAMES[one] ?? one}</kbd>
                  ))}
                </span>
              ))}
            </dt>
            <dd>{help}</dd>
          </div>
        ))}
      </dl>
      <p class="quiet">In the table: click a header to sort, drag it to move it, its edge to resize. Shift chooses a range of runs.
        In a chart: drag to zoom, double click to see all again. Everything that you see is in the address.</p>
    </Dialog>
  );
}

const NAMES: Record<string, string> = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc" };
