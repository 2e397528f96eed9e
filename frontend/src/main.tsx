// The page of `pystematic ui`.
import { render } from "preact";
import { HttpSource } from "./api/http";
import { setSource } from "./api/source";
import { Page } from "./page";
import { followAddressBar } from "./state/address";
import { startKeys } from "./state/keys";
import { readSession, startLive } from "./state/live";
import { startScale } from "./state/scale";
import { startTheme } from "./state/theme";
import "./style.css";

startTheme();
startScale();
setSource(new HttpSource());
followAddressBar();
startKeys();
// What the page asks for first goes first; that it is told of changes can wait until then.
void readSession().then(startLive);
render(<Page />, document.getElementById("app")!);
