/** Empties the Durable Objects of an app: every user's object that the log shards know, then the shards themselves. Can be repeated. */
import { mapLimited } from "../domain/map-limited.ts";
import { logShards } from "../store/log.ts";
import { logStub, userStubByName } from "../store/subjects.ts";

const PAGE = 500;
const OBJECTS_AT_ONCE = 6;

/** Gives the number of users' objects that were emptied. */
export async function deleteAppObjects(env: Env, app: number): Promise<number> {
  const shards = await logShards(env, app);
  let emptied = 0;
  for (let shard = 0; shard < shards; shard += 1) {
    const shardLog = logStub(env, app, shard);
    for (let after = ""; ;) {
      const page = await shardLog.objects(after, PAGE);
      if (page.length === 0) break;
      await mapLimited(page, OBJECTS_AT_ONCE, ({ object }) => userStubByName(env, object).destroy());
      emptied += page.length;
      after = page.at(-1)!.subject;
    }
    await shardLog.destroy();
  }
  return emptied;
}
