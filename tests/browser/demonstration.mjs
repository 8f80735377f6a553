// The demonstration ward in a browser, for whatever looks at every view: screenshots, accessibility, measurements.
import { resolve } from "node:path";
import { DEMO_PASSWORD, loadWard } from "../../scripts/demo.mjs";
import { startWorkerd } from "../support/server.mjs";
import { launch, patience } from "./scene.mjs";

/** Resolves with { url, server, browser, profile({ viewport, scheme, language }), signIn(page, username), stop }. */
export async function demonstrationClinic(options) {
  const [browser, server] = await Promise.all([launch(), startWorkerd({ build: process.env.BUILD ? resolve(process.env.BUILD) : undefined, ...options })]);
  const stop = () => Promise.all([browser.close(), server.stop()]);
  try {
    await loadWard(server.url, server.vars.SETUP_TOKEN);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: server.url,
    server,
    browser,
    stop,
    async profile({ viewport, scheme = "light", language = "en", theme }) {
      const locale = { en: "en-GB", zh: "zh-CN" }[language];
      const context = await browser.newContext({ viewport, colorScheme: scheme, locale, timezoneId: "Europe/London" });
      context.setDefaultTimeout(patience);
      if (theme) await context.addInitScript((name) => localStorage.setItem("bedside.settings", JSON.stringify({ theme: name })), theme);
      return context;
    },
    async signIn(page, username) {
      await page.locator("#username").fill(username);
      await page.locator("#password").fill(DEMO_PASSWORD);
      await page.locator("form .primary").click();
    },
  };
}
