// Every view of the page, one after the other, as somebody who may see it. Finds its way by structure, not by words, so
// that it goes in every language.

/**
 * Calls `visit(name, page)` for each view; `wants(name)` leaves out some.
 */
export async function tour(clinic, context, { wants = () => true, visit }) {
  for (const [name, go] of Object.entries(stops)) {
    if (!wants(name)) continue;
    const page = await context.newPage();
    await page.goto(clinic.url);
    await page.locator("#username").waitFor();
    await go(page, clinic);
    await visit(name, page);
    if (await page.locator(".who").count()) await page.keyboard.press("F8");
    await page.close();
    await context.clearCookies();
  }
}

const openWay = (page, way) => page.locator(`.way[data-way=${way}]`).click();

const stops = {
  async "sign-in"() {},
  async "sign-in-wrong"(page) {
    await page.locator("form .primary").click();
    await page.locator("#sign-in-problem:visible").waitFor();
  },
  async patients(page, clinic) {
    await clinic.signIn(page, "nurse.ada");
    await openWay(page, "patients");
    await page.locator(".row-bed:not(:empty)").first().waitFor();
  },
  async menu(page, clinic) {
    await clinic.signIn(page, "nurse.ada");
    await page.locator(".who").click();
    await page.locator("#menu:popover-open").waitFor();
  },
  async chart(page, clinic) {
    await clinic.signIn(page, "dr.chen");
    await openWay(page, "patients");
    await page.locator(".patient-row").nth(2).click();
    await page.locator("[data-state=live]").waitFor();
    await page.locator(".chart-foot").waitFor();
    await page.locator("[aria-busy=false]").waitFor();
  },
  async "chart-own"(page, clinic) {
    await clinic.signIn(page, "patient.01");
    await page.locator("[data-state=live]").waitFor();
    await page.locator("[aria-busy=false]").waitFor();
  },
};
