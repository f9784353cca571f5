// Lifts user.added to the version that is published today.

import { upcaster } from "../../../guest-sdk/js/index.js";
import { isObject, malformed } from "./users.js";

export default upcaster({
  name: "user-v1-to-v3",
  version: "1.0.0",
  description: "Two names instead of one, and always a country",
  lifts: [
    { type: "user.added", version: 1, toVersion: 2, lift: splitName },
    { type: "user.added", version: 2, toVersion: 3, lift: addCountry },
  ],
});

function splitName(data) {
  if (!isObject(data) || typeof data.name !== "string") throw malformed("the name is not a string");
  const { name, ...user } = data;
  const [, firstName, lastName] = /^ *([^ ]*) ?(.*?) *$/s.exec(name);
  return { ...user, firstName, lastName };
}

function addCountry(data) {
  if (!isObject(data)) throw malformed("the data is not an object");
  const { country, ...user } = data;
  return { ...user, country: country ?? "unknown" };
}
