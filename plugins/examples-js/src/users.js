// What the projection and the handler know of users.

import { Reject } from "../../../guest-sdk/js/index.js";

export const isText = (value) => typeof value === "string" && value !== "";

export const isObject = (data) => typeof data === "object" && data !== null && !Array.isArray(data);

/** The user's id. */
export function userOf({ type, data }) {
  if (!isObject(data) || !isText(data.id)) throw malformed(`${type} without the user's id`);
  return data.id;
}

export const malformed = (message) => new Reject("user.malformed", message);
