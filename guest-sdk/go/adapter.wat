;; What Go's runtime asks of wasi_snapshot_preview1, without a host: no files, no arguments, a clock that stands still,
;; random numbers that are always the same, and output that goes nowhere. So a component of Go imports nothing of WASI,
;; and two runs of it cannot differ. It keeps nothing, since Go takes it that all memory is its own.
(module
  (import "env" "memory" (memory 0))

  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param i32) unreachable)

  (func $none (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func (export "args_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; Not zero, which Go takes for a broken clock.
  (func (export "clock_time_get") (param i32 i64 i32) (result i32)
    (i64.store (local.get 2) (i64.const 1000000000))
    (i32.const 0))
  ;; Go waits here when it sleeps.
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) unreachable)

  (func (export "random_get") (param $to i32) (param $len i32) (result i32) (local $x i32)
    (local.set $x (i32.const 0x9e3779b9))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $len)))
      (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
      (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
      (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
      (i32.store8 (local.get $to) (local.get $x))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next)))
    (i32.const 0))

  ;; Takes all that is given to it.
  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $parts))))
      (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))

  ;; 8 is "bad file descriptor": there are none.
  (func $no_file_2 (param i32 i32) (result i32) (i32.const 8))
  (export "fd_fdstat_get" (func $no_file_2))
  (export "fd_fdstat_set_flags" (func $no_file_2))
  (export "fd_prestat_get" (func $no_file_2))
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (i32.const 8)))
