// The page: colours and language first, then whoever is signed in.
import { start } from "./app.mjs";
import { best, language, speak } from "./i18n.mjs";
import { setting, showTheme } from "./settings.mjs";

showTheme();
await speak(setting("language") ?? best(navigator.languages).tag);
document.documentElement.lang = language().locale;
start(document.getElementById("app"));
