/* The imports of a capsule in C, by hand: records as they lie in memory, and
 * the functions with their core signatures. REV says which shape of
 * astrid:process/host is imported: 110 (1.1.0), 100 (1.0.0) or 70 (1.0.0 as
 * runtime 0.7.0 served it). The asserts hold the records to the canonical ABI. */
#ifndef ASTRID_H
#define ASTRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef REV
#define REV 110
#endif

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;

typedef struct { char *ptr; u32 len; } str;
typedef struct { void *ptr; u32 len; } list;
typedef struct { u8 some, v; } opt_u8;
typedef struct { u8 some; u32 v; } opt_u32;
typedef struct { u8 some; s32 v; } opt_s32;
typedef struct { u8 some; u64 v; } opt_u64;
typedef struct { u8 some; str v; } opt_str;

typedef struct { u8 tag; str text; } error_code; /* of every interface: the last case has the text */
typedef struct { str key, value; } env_var;
typedef struct { opt_u64 memory, cpu; opt_u32 pids, files; } resource_limits;
typedef struct { u8 some; resource_limits v; } opt_limits;
typedef struct { str content; u8 placement; str where; } file_injection;
typedef struct {
	str cmd;
	list args;
	opt_str in;
	list env;
	opt_str cwd;
	opt_limits limits;
#if REV >= 110
	list files;
#endif
	opt_str label;
	opt_u8 keep_stdin_open, overflow;
	opt_u32 log_ring_bytes;
	opt_u64 max_lifetime_ms, idle_timeout_ms, exit_retention_ms;
} spawn_request;
typedef struct { opt_s32 code, signal; } exit_info;
typedef struct { u8 some; exit_info v; } opt_exit;
typedef struct { str out, err; exit_info exit; } process_result;
typedef struct { str out, err; u8 running; opt_exit exit; } read_logs_result;
typedef struct { u8 killed; opt_exit exit; str out, err; } kill_result;
typedef struct { opt_str token; } log_cursor;
typedef struct { str data; log_cursor next; u64 dropped; u8 eof; } log_chunk;
typedef struct {
	str id, label, command;
	opt_u32 os_pid;
	u8 phase;
	opt_exit exit;
	u64 age_ms, idle_ms, buffered, dropped;
	u8 stdin_open;
	opt_u64 cpu_ms, mem_peak;
} process_info;

typedef struct { u8 kind; str name; } ipc_principal;
typedef struct { str topic, payload, source; ipc_principal principal; } ipc_message;
typedef struct { list messages; u64 dropped, lagged; } ipc_envelope;
typedef struct { u64 handle; str action, topic; } ipc_binding;
typedef struct { opt_str principal; str source, timestamp; } sys_caller;

#define RESULT(T) struct { u8 err; union { T ok; error_code error; } u; }
typedef RESULT(u8) result_unit;
typedef RESULT(u32) result_u32;
typedef RESULT(str) result_str;
typedef RESULT(list) result_list;
typedef RESULT(opt_str) result_opt_str;
typedef RESULT(exit_info) result_exit;
typedef RESULT(process_result) result_process;
typedef RESULT(read_logs_result) result_logs;
typedef RESULT(kill_result) result_kill;
typedef RESULT(process_info) result_info;
typedef RESULT(log_chunk) result_chunk;
typedef RESULT(ipc_envelope) result_envelope;
typedef RESULT(sys_caller) result_caller;

#define SIZE(T, n) _Static_assert(sizeof(T) == (n), #T)
SIZE(env_var, 16);
SIZE(resource_limits, 48);
SIZE(file_injection, 20);
SIZE(spawn_request, REV >= 110 ? 184 : 176);
SIZE(exit_info, 16);
SIZE(process_result, 32);
SIZE(read_logs_result, 40);
SIZE(kill_result, 40);
SIZE(process_info, 128);
SIZE(log_chunk, 40);
SIZE(error_code, 12);
SIZE(result_unit, 16);
SIZE(result_exit, 20);
SIZE(result_process, 36);
SIZE(result_logs, 44);
SIZE(result_kill, 44);
SIZE(result_info, 136);
SIZE(result_chunk, 48);
SIZE(ipc_message, 36);
SIZE(ipc_envelope, 24);
SIZE(ipc_binding, 24);
SIZE(result_envelope, 32);
SIZE(result_caller, 32);

#define FROM(module, name) __attribute__((import_module(module), import_name(name))) extern
#if REV >= 110
#define PROCESS(name) FROM("astrid:process/host@1.1.0", name)
#else
#define PROCESS(name) FROM("astrid:process/host@1.0.0", name)
#endif
#define POLL(name) FROM("astrid:io/poll@1.0.0", name)
#define SYS(name) FROM("astrid:sys/host@1.0.0", name)
#define IPC(name) FROM("astrid:ipc/host@1.0.0", name)

#if REV == 70
#define FLAT char *cmd, u32 cmd_len, void *args, u32 args_len, u32 in_some, char *in, u32 in_len, void *env, u32 env_len, u32 cwd_some, char *cwd, u32 cwd_len
PROCESS("spawn") void process_spawn(FLAT, result_process *);
PROCESS("spawn-background") void process_spawn_background(FLAT, result_u32 *);
#else
PROCESS("spawn") void process_spawn(spawn_request *, result_process *);
PROCESS("spawn-background") void process_spawn_background(spawn_request *, result_u32 *);
PROCESS("spawn-persistent") void process_spawn_persistent(spawn_request *, result_str *);
PROCESS("attach") void process_attach(char *, u32, result_u32 *);
PROCESS("list-processes") void process_list(u32 some, char *, u32, result_list *);
PROCESS("status") void process_status(char *, u32, result_info *);
PROCESS("status-many") void process_status_many(void *, u32, result_list *);
PROCESS("read-logs") void process_read_logs(char *, u32, result_logs *);
PROCESS("read-since") void process_read_since(char *, u32, u32 stream, u32 some, char *, u32, u32 max, result_chunk *);
PROCESS("write-stdin") void process_write_stdin(char *, u32, char *, u32, result_u32 *);
PROCESS("close-stdin") void process_close_stdin(char *, u32, result_unit *);
PROCESS("signal") void process_signal(char *, u32, u32, result_unit *);
PROCESS("wait") void process_wait(char *, u32, u64, result_exit *);
PROCESS("stop") void process_stop(char *, u32, u32 some, u64, result_exit *);
PROCESS("release-process") void process_release(char *, u32, result_unit *);
PROCESS("watch") void process_watch(char *, u32, u32 some, char *, u32, result_unit *);
PROCESS("unwatch") void process_unwatch(char *, u32, result_unit *);
#endif
PROCESS("[method]process-handle.read-logs") void handle_read_logs(u32, result_logs *);
PROCESS("[method]process-handle.write-stdin") void handle_write_stdin(u32, char *, u32, result_u32 *);
PROCESS("[method]process-handle.close-stdin") void handle_close_stdin(u32, result_unit *);
PROCESS("[method]process-handle.signal") void handle_signal(u32, u32, result_unit *);
PROCESS("[method]process-handle.kill") void handle_kill(u32, result_kill *);
PROCESS("[method]process-handle.wait") void handle_wait(u32, u32 some, u64, result_exit *);
PROCESS("[method]process-handle.wait-with-output") void handle_wait_with_output(u32, u32 some, u64, result_process *);
PROCESS("[method]process-handle.os-pid") void handle_os_pid(u32, result_u32 *);
PROCESS("[method]process-handle.subscribe-exit") u32 handle_subscribe_exit(u32);
PROCESS("[method]process-handle.subscribe-logs") u32 handle_subscribe_logs(u32);
PROCESS("[resource-drop]process-handle") void handle_drop(u32);

POLL("[method]pollable.ready") u32 pollable_ready(u32);
POLL("[method]pollable.block") void pollable_block(u32, result_unit *);
POLL("poll") void poll_poll(void *, u32, result_list *);
POLL("[resource-drop]pollable") void pollable_drop(u32);

SYS("get-config") void sys_get_config(char *, u32, result_opt_str *);
SYS("get-caller") void sys_get_caller(result_caller *);
SYS("log") void sys_log(u32, char *, u32);
SYS("signal-ready") void sys_signal_ready(void);
SYS("clock-ms") u64 sys_clock_ms(void);
SYS("clock-monotonic-ns") u64 sys_clock_monotonic_ns(void);
SYS("sleep-ns") void sys_sleep_ns(u64, result_unit *);
SYS("random-bytes") void sys_random_bytes(u64, result_list *);
SYS("check-capsule-capability") void sys_check_capability(char *, u32, char *, u32, result_unit *);
SYS("enumerate-capabilities") void sys_enumerate_capabilities(list *);

IPC("publish") void ipc_publish(char *, u32, char *, u32, result_unit *);
IPC("publish-as") void ipc_publish_as(char *, u32, char *, u32, char *, u32, result_unit *);
IPC("subscribe") void ipc_subscribe(char *, u32, result_u32 *);
IPC("[method]subscription.poll") void subscription_poll(u32, result_envelope *);
IPC("[method]subscription.recv") void subscription_recv(u32, u64, result_envelope *);
IPC("[method]subscription.subscribe-readiness") u32 subscription_readiness(u32);
IPC("[resource-drop]subscription") void subscription_drop(u32);
IPC("get-interceptor-bindings") void ipc_bindings(result_list *);

#endif
