// Write Wasmill plugins in JavaScript. A plugin is the default export of its module:
//
//     export default projection({
//       name: "orders",
//       version: "1.0.0",
//       subscribes: [{ streams: ["order-*"] }],
//       collections: [{ name: "customers" }],
//       documents: (event) => [["customers", event.data.customer]],
//       apply: {
//         "order.placed": (event, state) =>
//           state.update("customers", event.data.customer, (orders = 0) => orders + 1),
//       },
//     });
//
// It runs in QuickJS, compiled with the plugin by build.js. A projection and an upcaster are functions of their
// events: in a host their clock stands still, and the time to use is `event.timeUs`.
//
// An event has `position`, `offset`, `timeUs`, `id`, `type`, `schemaVersion`, `stream`, perhaps `key` and
// `correlationId`, and `data`, parsed. Data that is not JSON is `dataBase64` instead.

export { config, details, env, log } from "./host.js";
export { Failure, Halt, Reject, Retry } from "./failure.js";
export { handler } from "./handler.js";
export { projection } from "./projection.js";
export { http, saga, wait } from "./saga.js";
export { upcaster } from "./upcaster.js";
