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
    await context.setOffline(false);
    await page.unrouteAll({ behavior: "ignoreErrors" });
    // A dialog gives back what it holds.
    await page.keyboard.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.keyboard.press("F8");
    await page.locator("#username").waitFor();
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
  async board(page, clinic) {
    await clinic.signIn(page, "nurse.ada");
    await page.locator(".board[data-state=live][aria-busy=false]").waitFor();
    await page.locator(".tile").nth(23).waitFor();
  },
  async "board-list"(page, clinic) {
    await stops.board(page, clinic);
    await page.locator(".board-tools .tool").first().click();
    await page.locator(".ward-list").waitFor();
  },
  async "board-lost"(page, clinic) {
    await stops.board(page, clinic);
    // The words of both languages are there a second after the page is, so that it can be turned over without the server.
    const words = () => new Set(performance.getEntriesByType("resource").flatMap(({ name }) => name.match(/\/js\/(?:en|zh)-/) ?? [])).size === 2;
    await page.waitForFunction(words);
    await page.context().setOffline(true);
    await page.locator(".downtime").waitFor();
  },
  async warning(page, clinic) {
    // As the server has it the session always ends within a minute.
    await page.route("**/session", async (route) => {
      const response = await route.fetch();
      if (!response.ok()) return route.fulfill({ response });
      const json = { ...(await response.json()), idle_expires_at: new Date(Date.now() + 50_000).toISOString() };
      return route.fulfill({ response, json });
    });
    await clinic.signIn(page, "nurse.ada");
    await page.locator("[role=alertdialog] .primary").waitFor();
  },
  async wall(page, clinic) {
    await clinic.signIn(page, "board.7");
    await page.locator(".wall[data-state=live][aria-busy=false]").waitFor();
  },
  async patients(page, clinic) {
    await clinic.signIn(page, "nurse.ada");
    await openWay(page, "patients");
    await page.locator(".row-bed:not(:empty)").first().waitFor();
  },
  async menu(page, clinic) {
    await stops.patients(page, clinic);
    await page.locator(".who").click();
    await page.locator("#menu:popover-open").waitFor();
    await page.locator("h1").first().waitFor();
  },
  async sessions(page, clinic) {
    await stops.menu(page, clinic);
    await page.locator("#menu .item").first().click();
    await page.locator(".session-row").first().waitFor();
  },
  async chart(page, clinic) {
    await clinic.signIn(page, "dr.chen");
    await openWay(page, "patients");
    await page.locator(".patient-row").nth(2).click();
    await page.locator("[data-state=live]").waitFor();
    await page.locator(".chart-foot").waitFor();
    await page.locator("[aria-busy=false]").waitFor();
  },
  async limits(page, clinic) {
    await stops.chart(page, clinic);
    await page.locator(".vitals .card-head .tool").click();
    await page.locator(".limits").waitFor();
  },
  async import(page, clinic) {
    await clinic.signIn(page, "admin");
    await openWay(page, "import");
    await page.locator("#files").waitFor();
    const bundle = { resourceType: "Bundle", type: "transaction", entry: [{ resource: { resourceType: "Organization", name: "Tour" }, request: { method: "POST", url: "Organization" } }] };
    const file = (name, content) => ({ name, mimeType: "application/json", buffer: Buffer.from(content) });
    await page.locator("#files").setInputFiles([file("good.json", JSON.stringify(bundle)), file("broken.json", "{")]);
    await page.locator("li.failed").waitFor();
  },
  async "booking-whom"(page, clinic) {
    await clinic.signIn(page, "nurse.ada");
    await openWay(page, "booking");
    await page.locator(".row-bed:not(:empty)").first().waitFor();
  },
  async booking(page, clinic) {
    await clinic.signIn(page, "nurse.ada");
    await openWay(page, "booking");
    await page.locator(".patient-row").nth(4).click();
    await page.locator(".first-free").click();
    await page.locator(".slot[data-state=free]").first().click();
    await page.locator(".slot[data-state=mine]").first().waitFor();
    await page.locator(".held-bar .primary:enabled").first().waitFor();
  },
  async "booking-cancel"(page, clinic) {
    await clinic.signIn(page, "patient.01");
    await openWay(page, "booking");
    await page.locator(".first-free").click();
    await page.locator(".appointments[aria-busy=false]").waitFor();
    if (!(await page.locator("[data-status=booked]").count())) {
      await page.locator(".slot[data-state=free]").nth(2).click();
      await page.locator(".held-bar .primary").click();
    }
    await page.locator("[data-status=booked] .danger").first().click();
    await page.locator("#cancel-reason").waitFor();
  },
  async diagnosis(page, clinic) {
    await stops.chart(page, clinic);
    await page.locator(".documents .edit").first().click();
    await page.locator("#diagnosis-text").waitFor();
  },
  async document(page, clinic) {
    await stops.chart(page, clinic);
    await page.locator(".documents .read").first().click();
    await page.locator(".document-text").waitFor();
  },
  async "chart-own"(page, clinic) {
    await clinic.signIn(page, "patient.01");
    await page.locator("[data-state=live]").waitFor();
    await page.locator("[aria-busy=false]").waitFor();
  },
};
