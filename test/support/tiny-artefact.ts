/** The two seeded artefacts of tiny-artefacts.json (see make_tiny_artefact.py) as files and as a source, anywhere. */
import { Manifest } from "../../functions/domain/artefact/manifest.ts";
import type { ModelSource } from "../../functions/inference/load-model.ts";
import encoded from "./tiny-artefacts.json" with { type: "json" };

export type TinyName = keyof typeof encoded;

/** Every file of the artefact but manifest.json, and the manifest parsed. Each call gives bytes of its own. */
export function tinyArtefact(name: TinyName): { manifest: Manifest; files: Map<string, Uint8Array<ArrayBuffer>> } {
  const files = new Map(
    Object.entries<string>(encoded[name]).map(([path, text]) => [
      path,
      Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),
    ]),
  );
  const manifest = Manifest.parse(JSON.parse(new TextDecoder().decode(files.get("manifest.json"))));
  files.delete("manifest.json");
  return { manifest, files };
}

export function tinySource(name: TinyName): ModelSource & { files: Map<string, Uint8Array<ArrayBuffer>> } {
  const { manifest, files } = tinyArtefact(name);
  return {
    manifest,
    files,
    async read(path) {
      const bytes = files.get(path);
      if (bytes === undefined) throw new Error(`no file ${path}`);
      return bytes.buffer;
    },
  };
}
