// What bare workerd costs without anything: the measure of the machine.
export * from "./main.js";
export default { fetch: () => new Response("hello") };
