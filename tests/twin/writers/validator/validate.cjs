// Prints the report of Khronos' validator for each GLB named, as a JSON array.
const { readFileSync } = require("node:fs");
const { validateBytes } = require("gltf-validator");

Promise.all(process.argv.slice(2).map((file) => validateBytes(new Uint8Array(readFileSync(file))))).then((reports) =>
  console.log(JSON.stringify(reports.map((report) => report.issues)))
);
