// Loading Bundles from files in a real browser: progress, what is wrong with a file, and that nothing is doubled.
import assert from "node:assert/strict";
import { test } from "node:test";
import { password, saying, signInOnPage, stage } from "./scene.mjs";

const it = stage();
const file = (name, content) => ({ name, mimeType: "application/json", buffer: Buffer.from(typeof content === "string" ? content : JSON.stringify(content)) });
const patients = (count) => ({
  resourceType: "Bundle",
  type: "transaction",
  entry: Array.from({ length: count }, (_, index) => ({
    fullUrl: `urn:uuid:00000000-0000-4000-8000-00000000000${index}`,
    resource: { resourceType: "Patient", name: [{ family: `Import${index}` }] },
    request: { method: "POST", url: "Patient" },
  })),
});

test("files are loaded one by one, what is wrong with one is said, and a file again doubles nothing", async () => {
  const page = await it.page();
  await signInOnPage(page, "admin", password);
  await page.getByRole("button", { name: "Import" }).click();
  await page.getByRole("heading", { name: "Import" }).waitFor();
  const files = [file("three.json", patients(3)), file("broken.json", "{"), file("list.json", { resourceType: "List" }), file("bad.json", { resourceType: "Bundle", type: "transaction", entry: [{ resource: { resourceType: "Patient", birthDate: "soon" }, request: { method: "POST", url: "Patient" } }] })];
  it.expects(/status of (400|422)/);
  await page.getByLabel("Files", { exact: true }).setInputFiles(files);
  await page.locator("[aria-busy=false]").waitFor();
  const row = (name) => page.locator("li", { hasText: name });
  await saying(row("three.json"), "3 resources, 3 of them new");
  await saying(row("broken.json"), "no JSON file");
  await saying(row("list.json"), "no Bundle of type transaction");
  await saying(row("bad.json"), /refused/);
  await saying(page.locator(".progress"), "4 of 4 files");
  const count = async () => {
    const { entry } = await it.scene.call("admin", "GET", "/fhir/Patient?_count=100");
    return entry.filter(({ resource }) => resource.name[0].family.startsWith("Import")).length;
  };
  assert.equal(await count(), 3);
  await page.getByLabel("Files", { exact: true }).setInputFiles(files.slice(0, 1));
  await page.locator(".progress", { hasText: "1 of 1 files" }).waitFor();
  assert.equal(await count(), 3);
});
