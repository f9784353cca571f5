// Asks for a welcome, once for each user.

import { config, handler, log } from "../../../guest-sdk/js/index.js";
import { isText, userOf } from "./users.js";

export default handler({
  name: "welcome",
  version: "1.0.0",
  description: "Asks for a welcome, once for each user",
  subscribes: [{ types: ["user.added"] }],
  collections: [{ name: "greeted", description: "By id: who was welcomed, and when" }],
  config: [{ name: "greeting", description: "The first word of a welcome", default: "Welcome" }],
  capabilities: ["append:outbox-welcome"],

  documents: ({ data }) => (isText(data?.id) ? [["greeted", data.id]] : []),

  handle: {
    "user.added"(event, state, emit) {
      const id = userOf(event);
      if (state.get("greeted", id) !== undefined) return;
      const { firstName, name } = event.data;
      const text = `${config.get("greeting")}, ${[firstName, name, id].find(isText)}!`;
      emit("outbox-welcome", [{ type: "welcome.requested", schemaVersion: 1, key: id, data: { id, text } }]);
      state.put("greeted", id, { atUs: event.timeUs });
      log.info("a welcome is asked for", { user: id });
    },
  },
});
