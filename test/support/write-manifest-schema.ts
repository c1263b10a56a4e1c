/** Writes functions/domain/artefact/manifest.schema.json from the zod schema: `node test/support/write-manifest-schema.ts`. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { manifestJsonSchema } from "../../functions/domain/artefact/manifest.ts";

const file = path.join(import.meta.dirname, "../../functions/domain/artefact/manifest.schema.json");
writeFileSync(file, `${JSON.stringify(manifestJsonSchema(), null, 2)}\n`);
