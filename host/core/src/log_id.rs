//! Numbers of the host's log records, so that an operator can search and alert on them. Ranges:
//! 1000 stream life cycle, 2000 subscriptions, 3000 consumers, 4000 publishing, 5000 consumption,
//! 6000 schema evolution, 7000 exactly-once, 8000 cross-service, 9000 plugins, 10000 sagas; and
//! below 1000 the host itself. A number is never reused.

pub const HOST_STARTED: u32 = 100;
pub const HOST_LISTENING: u32 = 101;
pub const HOST_DRAINING: u32 = 102;
pub const HOST_STOPPED: u32 = 103;
pub const TASK_FAILED: u32 = 110;
pub const STORE_OPENED: u32 = 120;
pub const STORE_CHECKPOINT_FAILED: u32 = 121;
pub const OTHERS_UNKNOWN: u32 = 122;
pub const TIMERS_FAILED: u32 = 123;
pub const REQUEST_FAILED: u32 = 130;
pub const REQUEST_REFUSED: u32 = 131;
pub const REQUEST_DONE: u32 = 132;

pub const STREAM_CONFIG_CHANGED: u32 = 1001;
pub const STREAM_CONFIG_UNREADABLE: u32 = 1002;
pub const STREAM_TRUNCATED: u32 = 1010;
pub const STREAM_DELETED: u32 = 1011;
pub const REMOVAL_INTERRUPTED: u32 = 1012;
pub const RETENTION_DONE: u32 = 1020;
pub const RETENTION_FAILED: u32 = 1021;
pub const RETENTION_INTERRUPTED: u32 = 1022;

pub const FOLLOW_STARTED: u32 = 2001;
pub const FOLLOW_ENDED: u32 = 2002;
pub const PUSH_STARTED: u32 = 2010;
pub const PUSH_ENDED: u32 = 2011;
pub const REMINDER_FAILED: u32 = 2020;
pub const RECEIPT_NOT_NOTED: u32 = 2021;
pub const REPLAY_CHANGED: u32 = 2030;
pub const REPLAY_DONE: u32 = 2031;
pub const REPLAY_FAILED: u32 = 2032;

pub const GROUP_CREATED: u32 = 3001;
pub const GROUP_CHANGED: u32 = 3002;
pub const GROUP_DELETED: u32 = 3003;
pub const GROUP_NOT_LOADED: u32 = 3010;
pub const GROUP_NOT_READ: u32 = 3011;
pub const GROUP_NOT_COMMITTED: u32 = 3012;
pub const QUEUE_NOT_TRIMMED: u32 = 3013;
pub const DEAD_LETTER_NOT_COPIED: u32 = 3014;
pub const MEMBER_JOINED: u32 = 3020;
pub const MEMBER_LEFT: u32 = 3021;
pub const MEMBER_LOST: u32 = 3022;

pub const EVENTS_APPENDED: u32 = 4001;
pub const APPEND_REJECTED: u32 = 4002;
pub const QUEUED_APPEND_FAILED: u32 = 4003;
pub const COMMIT_FAILED: u32 = 4010;
pub const SCHEDULE_CHANGED: u32 = 4020;
pub const SCHEDULE_FAILED: u32 = 4021;

pub const UPCAST_FAILED: u32 = 6001;
pub const UPCASTERS_CHANGED: u32 = 6002;
pub const SCHEMA_REGISTERED: u32 = 6010;
pub const SCHEMA_DELETED: u32 = 6011;
pub const SCHEMA_MODE_CHANGED: u32 = 6012;
pub const SCHEMA_UNREADABLE: u32 = 6013;

pub const PLUGIN_DEPLOYED: u32 = 9001;
pub const PLUGIN_REFUSED: u32 = 9002;
pub const PLUGIN_REMOVED: u32 = 9003;
pub const PLUGIN_LOADED: u32 = 9004;
pub const PLUGINS_HERE: u32 = 9005;
pub const PLUGINS_ELSEWHERE: u32 = 9006;
pub const PLUGIN_LOG_LINE: u32 = 9010;
pub const PROJECTION_STARTED: u32 = 9100;
pub const PROJECTION_LIVE: u32 = 9101;
pub const PROJECTION_PAUSED: u32 = 9102;
pub const PROJECTION_RETRIES: u32 = 9103;
pub const PROJECTION_SWAPPED: u32 = 9104;
pub const PROJECTION_STOPPED: u32 = 9105;
pub const GENERATION_DROPPED: u32 = 9106;
pub const PROJECTION_PARKED: u32 = 9107;
pub const HANDLER_STARTED: u32 = 9200;
pub const HANDLER_PAUSED: u32 = 9201;
pub const HANDLER_RETRIES: u32 = 9202;
pub const HANDLER_STOPPED: u32 = 9203;
pub const PLUGIN_CHANGED: u32 = 9007;
pub const PLUGIN_DIVERGES: u32 = 9008;

pub const SAGAS_HERE: u32 = 10001;
pub const SAGAS_ELSEWHERE: u32 = 10002;
pub const SAGAS_LATE: u32 = 10003;
pub const SAGA_STARTED: u32 = 10010;
pub const SAGA_NOT_STARTED: u32 = 10011;
pub const SAGA_ORDERED: u32 = 10012;
pub const SAGA_LATE_OUTCOME: u32 = 10013;
pub const SAGA_UNREADABLE: u32 = 10014;
