// FHIR Subscriptions as the R5 backport for R4 profiles them.
const BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
const topic = (name) => `https://bedside.example/fhir/SubscriptionTopic/${name}`;

/** A Subscription to `name`; `more` is the channel's extensions by name, with their values. */
export function subscription(name, { filter, content = "full-resource", channel = { type: "websocket" }, more = {}, ...rest } = {}) {
  const extension = Object.entries(more).map(([url, [type, value]]) => ({ url: `${BACKPORT}/${url}`, [type]: value }));
  return {
    resourceType: "Subscription",
    status: "requested",
    reason: "test",
    criteria: topic(name),
    ...(filter && { _criteria: { extension: [{ url: `${BACKPORT}/backport-filter-criteria`, valueString: filter }] } }),
    channel: {
      ...channel,
      ...(extension.length && { extension }),
      payload: "application/fhir+json",
      _payload: { extension: [{ url: `${BACKPORT}/backport-payload-content`, valueCode: content }] },
    },
    ...rest,
  };
}
