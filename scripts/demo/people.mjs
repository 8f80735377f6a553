// Who is in the demonstration: invented people and the staff that looks after them. Nobody here exists.

/** Patients in the order of their beds: given names, family name, gender, and the whole name where its order differs. */
const people = [
  ["Amara", "Nwosu", "female"],
  ["Henrik", "Solberg", "male"],
  ["Mei-Ling", "Tan", "female", "Tan Mei-Ling"],
  ["José Luis", "Cabrera", "male"],
  ["Farida", "Rahimi", "female"],
  ["Tomasz", "Zieliński", "male"],
  ["Aroha", "Te Rangi", "female"],
  ["Sanjay", "Kulkarni", "male"],
  ["Adebayo", "Oyelaran", "male"],
  ["Ingrid", "Lindqvist", "female"],
  ["Thị Hạnh", "Nguyễn", "female", "Nguyễn Thị Hạnh"],
  ["Kwame", "Boateng", "male"],
  ["Leila", "Haddad", "female"],
  ["Yusuf", "Demir", "male"],
  ["Caoimhe", "Brennan", "female"],
  ["Haruto", "Ishikawa", "male", "Ishikawa Haruto"],
  ["Ana Beatriz", "Moreira", "female"],
  ["Siosaia", "Vailea", "male"],
  ["Eszter", "Kovács", "female", "Kovács Eszter"],
  ["Abdulkadir", "Warsame", "male"],
  ["Robin", "Achterberg", "other"],
  ["Dmytro", "Kravchenko", "male"],
  ["Xóchitl", "Ramírez", "female"],
  ["Giorgos", "Papadakis", "male"],
  ["Parveen", "Sandhu", "female"],
];

const streets = ["Mill Lane", "Quay Street", "Orchard Road", "Station Hill", "Weavers' Row", "Larkfield", "Old Ferry Road"];

/** The person of number `number`, from 1; from the second round on families are joined, so that names differ. */
export function person(number, { one, whole }) {
  const index = number - 1;
  const [given, family, gender, text] = people[index % people.length];
  const round = Math.floor(index / people.length);
  const joined = round ? `${family}-${people[(index + round) % people.length][1]}` : family;
  return {
    gender,
    name: { use: "official", text: round || !text ? `${given} ${joined}` : text, family: joined, given: given.split(" ") },
    address: {
      use: "home",
      line: [`${whole(1, 180)} ${one(streets)}`],
      city: "Harrowmere",
      postalCode: `HM${whole(1, 9)} ${whole(100, 999)}`,
    },
  };
}

const both = ["ward-7", "ward-8"];

/** The staff: user name, name, role, wards and the id of their Practitioner; nurses with the shift they work. */
export const staff = [
  { username: "dr.chen", given: "Wei", family: "Chen", prefix: "Dr", role: "practitioner", wards: ["ward-7"] },
  { username: "dr.okafor", given: "Ngozi", family: "Okafor", prefix: "Dr", role: "practitioner", wards: both },
  { username: "nurse.ada", given: "Ada", family: "Vance", role: "nurse", wards: ["ward-7"], shift: "day" },
  { username: "nurse.bruno", given: "Bruno", family: "Carvalho", role: "nurse", wards: ["ward-7"], shift: "day" },
  { username: "nurse.dilnaz", given: "Dilnaz", family: "Yusupova", role: "nurse", wards: ["ward-7"], shift: "night" },
  { username: "nurse.eunji", given: "Eun-ji", family: "Park", role: "nurse", wards: ["ward-7"], shift: "night" },
].map((one) => ({
  ...one,
  id: `demo-${one.username.replace(".", "-")}`,
  name: [one.prefix, one.given, one.family].filter(Boolean).join(" "),
}));
