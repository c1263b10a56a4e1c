/** Writes functions/domain/artefact/manifest.schema.json from the zod schema: `node test/support/write-manifest-schema.ts`. */
import { writeFileSync } from "node:fs";
import { manifestJsonSchema } from "../../functions/domain/artefact/manifest.ts";

const file = new URL("../../functions/domain/artefact/manifest.schema.json", import.meta.url);
writeFileSync(file, `${JSON.stringify(manifestJsonSchema(), null, 2)}\n`);
