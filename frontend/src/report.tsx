// The page as one file without a server: what `pystematic report` has put into it is all that there is.
import { render } from "preact";
import type { Report } from "./api/schema";
import { EmbeddedSource } from "./api/embedded";
import { setSource } from "./api/source";
import { Page } from "./page";
import { followAddressBar } from "./state/address";
import { startKeys } from "./state/keys";
import { readSession } from "./state/live";
import { startScale } from "./state/scale";
import { startTheme } from "./state/theme";
import "./style.css";

startTheme();
startScale();
const report = JSON.parse(document.getElementById("pystematic-report")!.textContent ?? "") as Report;
setSource(new EmbeddedSource(report));
followAddressBar();
startKeys();
void readSession();
render(<Page />, document.getElementById("app")!);
