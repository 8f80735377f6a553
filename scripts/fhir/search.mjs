// The search parameters of src/fhir/search/parameters.txt, from HL7's SearchParameter resources: the paths of their
// expressions as members of the JSON, choices spelled out, and one parameter said by another where it can be.
// How to read a line is in src/fhir/search/parameters.rs.

/** Types whose parameters are taken in full; composite, phonetic and special ones aside. */
const FULL = [
  'AllergyIntolerance', 'Appointment', 'CarePlan', 'Condition', 'DiagnosticReport', 'Encounter', 'Immunization', 'Location',
  'MedicationRequest', 'Observation', 'Organization', 'Patient', 'Practitioner', 'PractitionerRole', 'Procedure', 'Schedule',
  'Slot',
];
/** What is taken of every other type. */
const COMMON = ['code', 'date', 'encounter', 'identifier', 'patient', 'status', 'subject'];
/** Of every type. */
const BASE = ['_profile', '_security', '_tag'];

const LETTER = { token: 't', reference: 'r', string: 's', date: 'd', quantity: 'q', uri: 'u' };
/** The types of elements that a kind of parameter finds values in. */
const TAKEN = {
  token: ['CodeableConcept', 'Coding', 'Identifier', 'ContactPoint', 'code', 'boolean', 'string', 'id', 'uri'],
  reference: ['Reference', 'canonical'],
  string: ['string', 'markdown', 'HumanName', 'Address'],
  date: ['date', 'dateTime', 'instant', 'Period', 'Timing'],
  quantity: ['Quantity', 'Age', 'Duration', 'Count', 'Distance', 'Money'],
  uri: ['uri', 'url', 'canonical', 'oid', 'uuid'],
};
const PARTS = { HumanName: ['text', 'family', 'given', 'prefix', 'suffix'], Address: ['text', 'line', 'district'] };
const ADDRESS = ['address-city', 'address-country', 'address-postalcode', 'address-state'];

export function searchParameters({ kinds, definitions, parameters, systemOf }) {
  const elements = new Map();
  for (const definition of definitions) {
    for (const element of definition.snapshot.element) elements.set(element.path, element);
  }

  /** Follows `names` from `type`: [{ path, type, many }], one for each type that the last one can have. */
  function follow(type, names, as) {
    let ends = [{ path: [], at: type, type, many: false }];
    for (const [index, name] of names.entries()) {
      const last = index === names.length - 1;
      ends = ends.flatMap(({ path, at, many }) => {
        const found = elements.get(`${at}.${name}`) ?? elements.get(`${at}.${name}[x]`);
        if (!found) throw new Error(`${at} has no element ${name}`);
        const repeats = many || found.max !== '1';
        const nested = ['BackboneElement', 'Element'].includes(found.type?.[0]?.code);
        const choice = found.path.endsWith('[x]');
        return (found.type ?? [])
          .map((each) => each.code)
          .filter((code) => !last || !as || code === as)
          .map((code) => ({
            path: [...path, choice ? name + code[0].toUpperCase() + code.slice(1) : name],
            at: nested ? found.path : code,
            type: code,
            many: repeats,
            element: found,
          }));
      });
    }
    return ends;
  }

  /** Reads a part of an expression: { names, as, resolves, system }. */
  function read(type, part) {
    let text = part.trim();
    const resolves = text.match(/\.where\(resolve\(\) is (\w+)\)/)?.[1];
    const system = text.match(/\.where\(system='(\w+)'\)/)?.[1];
    text = text.replace(/\.where\([^()]*(\(\)[^()]*)?\)/g, '');
    const as = text.match(/ as (\w+)\)/)?.[1] ?? text.match(/\.as\((\w+)\)/)?.[1];
    text = text.replace(/^\((.*) as \w+\)/, '$1').replace(/\.as\(\w+\)/, '').replace(/^\((.*)\)$/, '$1');
    // `(Observation.value as CodeableConcept).text`: the type is of the element before.
    const tail = as && part.trim().match(/\)\.(\w+)$/)?.[1];
    if (tail && !part.includes('.where')) text = text.replace(new RegExp(`\\.${tail}$`), '');
    if (!/^[A-Za-z.]+$/.test(text)) throw new Error(`cannot read the expression ${part} of ${type}`);
    return { names: text.split('.').slice(1), as, resolves, system, tail: part.trim().match(/\)\.([a-z]\w*)$/)?.[1] };
  }

  function parameterOf(type, code) {
    const base = type === 'Resource' ? ['Resource'] : [type];
    const found = parameters.find((item) => item.code === code && item.base.some((each) => base.includes(each)));
    if (!found) return null;
    const kind = found.type;
    if (code === 'deceased') return { kind, paths: ['deceasedBoolean', 'deceasedDateTime'], mark: '!' };
    const paths = [];
    let [many, resolves, system, implied] = [false, null, null, null];
    for (const part of found.expression.split('|')) {
      if (!part.trim().replace(/^\(+/, '').startsWith(`${type}.`)) continue;
      const of = read(type, part);
      resolves ??= of.resolves;
      system ??= of.system;
      for (const end of follow(type, of.names, of.as)) {
        const path = end.path.join('.');
        if (of.tail && end.type === 'CodeableConcept') paths.push(`${path}.${of.tail}`);
        else if (TAKEN[kind].includes(end.type)) {
          paths.push(...(PARTS[end.type] ?? ['']).map((name) => (name ? `${path}.${name}` : path)));
          if (kind === 'token' && end.type === 'code') implied = systemOf(end.element);
        }
        many ||= end.many;
      }
    }
    if (paths.length > 1 && new Set(paths.map((path) => path.replace(/(Date|DateTime|Instant|Period|Timing)$/, ''))).size > 1) many = true;
    return { kind, paths: [...new Set(paths)], many, resolves, system, implied };
  }

  const skipped = ['composite', 'special', 'number'];
  function line(type, codes) {
    const all = new Map();
    for (const code of codes) {
      const found = parameterOf(type, code);
      if (found?.paths.length) all.set(code, found);
    }
    const said = [...all].map(([code, { kind, paths, many, resolves, system, implied, mark }]) => {
      const letter = LETTER[kind] + (kind === 'date' && !many ? '1' : '') + (mark ?? '');
      const same = (other) => other !== code && !all.get(other).resolves && !all.get(other).system
        && all.get(other).paths.join() === paths.join();
      if (resolves || system) {
        const other = [...all.keys()].find(same);
        return `${code}=${letter}${other ? `&${other}` : `:${paths.join()}`}|${resolves ?? system}`;
      }
      if (code.startsWith('combo-')) return `${code}=${letter}&${code.slice(6)},${code.replace('combo', 'component')}`;
      if (code === 'address') return `${code}=${letter}:${paths.join()}&${ADDRESS.join()}`;
      return `${code}=${letter}:${paths.join()}${implied ? `^${implied}` : ''}`;
    });
    return said.length ? `${type} ${said.join(' ')}` : null;
  }

  const codesOf = (type) => [
    ...new Set(
      parameters
        .filter((item) => item.base.includes(type) && !skipped.includes(item.type) && item.code !== 'phonetic')
        .map((item) => item.code),
    ),
  ].sort();
  const lines = kinds.map((type) => line(type, codesOf(type).filter((code) => FULL.includes(type) || COMMON.includes(code))));
  return [line('Resource', BASE), ...lines.filter(Boolean)];
}
