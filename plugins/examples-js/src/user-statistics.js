// How many users were added and removed, in all and by country.

import { projection } from "../../../guest-sdk/js/index.js";
import { isText, malformed, userOf } from "./users.js";

export default projection({
  name: "user-statistics",
  version: "1.0.0",
  description: "Users added and removed, in all and by country",
  subscribes: [{ types: ["user.*"] }],
  collections: [
    { name: "statistics", description: "Under `all` and under `country.NO`: added, removed, current" },
    { name: "users", description: "By id: the users of now" },
  ],

  documents: ({ data }) => (isText(data?.id) ? [["users", data.id], ["statistics", "all"]] : []),

  apply: {
    "user.added"(event, state) {
      const id = userOf(event);
      const country = event.data.country ?? "unknown";
      if (!isText(country)) throw malformed("the country is not a name");
      if (state.get("users", id) !== undefined) return;
      state.put("users", id, { country });
      count(state, country, (statistics) => (statistics.added += 1));
    },

    "user.removed"(event, state) {
      const id = userOf(event);
      const user = state.get("users", id);
      if (user === undefined) return;
      state.remove("users", id);
      count(state, user.country, (statistics) => (statistics.removed += 1));
    },
  },
});

function count(state, country, change) {
  for (const key of ["all", `country.${country}`]) {
    state.update("statistics", key, (statistics = { added: 0, removed: 0, current: 0 }) => {
      change(statistics);
      statistics.current = statistics.added - statistics.removed;
      return statistics;
    });
  }
}
