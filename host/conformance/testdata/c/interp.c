/* A capsule that does what a script says, one call of the contract a line, and
 * answers with what it got, one line each. */
#include "script.h"

#include <string.h>

static const char *const process_errors[] = {
	"capability-denied", "invalid-input", "boundary-escape", "quota", "too-large", "closed", "cancelled", "wait-timeout",
#if REV != 70
	"no-such-process", "registry-full", "persist-unsupported",
#endif
	"unknown"};
static const char *const poll_errors[] = {"invalid-input", "closed", "too-large", "cancelled", "unknown"};
static const char *const sys_errors[] = {"capability-denied", "config-key-reserved", "too-large", "registry-unavailable", "cancelled", "unknown"};
static const char *const ipc_errors[] = {"capability-denied", "invalid-input", "closed", "rate-limited", "backpressure", "quota", "timeout", "unknown"};

static const char *const *errors;
static u32 error_count;
#define ERRORS(of) (errors = of, error_count = sizeof of / sizeof *of)

static void out_error(const error_code *e) {
	out_word("error");
	if (e->tag >= error_count) __builtin_trap();
	out_word(errors[e->tag]);
	if (e->tag == error_count - 1u) out_str("text", e->text);
}

/* Called with a result: tells of the error, or begins the line with ok. */
#define OK(r) ((r).err ? (out_error(&(r).u.error), false) : (out_word("ok"), true))

static void out_bool(const char *key, u8 v) { out_str(key, text(v ? "true" : "false")); }

static void out_exit(bool some, exit_info e) {
	char b[40] = "none";
	u32 n = 4;
	if (!some) {
		out_str("exit", text("-"));
		return;
	}
	opt_s32 parts[2] = {e.code, e.signal};
	static const char *const names[2] = {"code:", "signal:"};
	for (int i = 0, at = 0; i < 2; i++) {
		if (!parts[i].some) continue;
		if (at) b[at++] = ',';
		memcpy(b + at, names[i], strlen(names[i]));
		at += strlen(names[i]);
		char d[12];
		int k = 12;
		u32 v = parts[i].v < 0 ? -(u32)parts[i].v : (u32)parts[i].v;
		do d[--k] = '0' + v % 10;
		while (v /= 10);
		if (parts[i].v < 0) d[--k] = '-';
		memcpy(b + at, d + k, 12 - k);
		n = at += 12 - k;
	}
	out_str("exit", (str){b, n});
}

static void cut(str s, char at, str *left, str *right) {
	char *p = memchr(s.ptr, at, s.len);
	u32 n = p ? p - s.ptr : s.len;
	*left = (str){s.ptr, n};
	*right = p ? (str){p + 1, s.len - n - 1} : (str){s.ptr + n, 0};
}

static list lift_env(const line *l) {
	list r = all(l, "env");
	env_var *v = alloc((r.len + 1) * sizeof *v);
	for (u32 i = 0; i < r.len; i++) cut(((str *)r.ptr)[i], '=', &v[i].key, &v[i].value);
	r.ptr = v;
	return r;
}

static spawn_request request(const line *l) {
	spawn_request q;
	memset(&q, 0, sizeof q);
	q.cmd = get(l, "cmd");
	q.args = all(l, "arg");
	q.in = get_opt(l, "stdin");
	q.env = lift_env(l);
	q.cwd = get_opt(l, "cwd");
	q.limits.some = has(l, "mem") || has(l, "cpu") || has(l, "pids") || has(l, "files");
	q.limits.v.memory = get_opt_u64(l, "mem");
	q.limits.v.cpu = get_opt_u64(l, "cpu");
	q.limits.v.pids = (opt_u32){has(l, "pids"), get_u64(l, "pids")};
	q.limits.v.files = (opt_u32){has(l, "files"), get_u64(l, "files")};
#if REV >= 110
	q.files.ptr = alloc((l->n + 1) * sizeof(file_injection));
	for (u32 i = 0; i < l->n; i++) {
		const field *f = &l->fields[i];
		bool path = !strcmp(f->key, "file-path");
		if (!path && strcmp(f->key, "file-env")) continue;
		file_injection *in = (file_injection *)q.files.ptr + q.files.len++;
		in->placement = path;
		cut(f->value, '=', &in->where, &in->content);
	}
#endif
	q.label = get_opt(l, "label");
	q.keep_stdin_open = (opt_u8){has(l, "keep-stdin-open"), same(get(l, "keep-stdin-open"), "true")};
	q.overflow = (opt_u8){has(l, "overflow"), same(get(l, "overflow"), "backpressure")};
	q.log_ring_bytes = (opt_u32){has(l, "log-ring-bytes"), get_u64(l, "log-ring-bytes")};
	q.max_lifetime_ms = get_opt_u64(l, "max-lifetime-ms");
	q.idle_timeout_ms = get_opt_u64(l, "idle-timeout-ms");
	q.exit_retention_ms = get_opt_u64(l, "exit-retention-ms");
	return q;
}

#if REV == 70
#define REQUEST(q) \
	q.cmd.ptr, q.cmd.len, q.args.ptr, q.args.len, q.in.some, q.in.v.ptr, q.in.v.len, q.env.ptr, q.env.len, q.cwd.some, q.cwd.v.ptr, q.cwd.v.len
#else
#define REQUEST(q) &q
#endif

static void out_result(const result_process *r) {
	if (!OK(*r)) return;
	out_str("stdout", r->u.ok.out);
	out_str("stderr", r->u.ok.err);
	out_exit(true, r->u.ok.exit);
}

static void out_logs(const result_logs *r) {
	if (!OK(*r)) return;
	out_str("stdout", r->u.ok.out);
	out_str("stderr", r->u.ok.err);
	out_bool("running", r->u.ok.running);
	out_exit(r->u.ok.exit.some, r->u.ok.exit.v);
}

static void out_wait(const result_exit *r) {
	if (OK(*r)) out_exit(true, r->u.ok);
}

static void spawn(const line *l) {
	spawn_request q = request(l);
	result_process r;
	process_spawn(REQUEST(q), &r);
	out_result(&r);
}

static void spawn_background(const line *l) {
	spawn_request q = request(l);
	result_u32 r;
	process_spawn_background(REQUEST(q), &r);
	if (OK(r)) out_handle(l, r.u.ok);
}

static u32 signal_of(const line *l) {
	static const char *const names[] = {"term", "hup", "usr1", "usr2", "int", "stop", "cont"};
	str s = get(l, "sig");
	for (u32 i = 0; i < 7; i++)
		if (same(s, names[i])) return i;
	return get_u64(l, "sig");
}

#define H get_handle(l, "h")
#define P get_handle(l, "p")

static void h_read_logs(const line *l) {
	result_logs r;
	handle_read_logs(H, &r);
	out_logs(&r);
}

static void h_write_stdin(const line *l) {
	result_u32 r;
	str data = get(l, "data");
	handle_write_stdin(H, data.ptr, data.len, &r);
	if (OK(r)) out_u64("n", r.u.ok);
}

static void h_close_stdin(const line *l) {
	result_unit r;
	handle_close_stdin(H, &r);
	(void)OK(r);
}

static void h_signal(const line *l) {
	result_unit r;
	handle_signal(H, signal_of(l), &r);
	(void)OK(r);
}

static void h_kill(const line *l) {
	result_kill r;
	handle_kill(H, &r);
	if (!OK(r)) return;
	out_bool("killed", r.u.ok.killed);
	out_exit(r.u.ok.exit.some, r.u.ok.exit.v);
	out_str("stdout", r.u.ok.out);
	out_str("stderr", r.u.ok.err);
}

static void h_wait(const line *l) {
	result_exit r;
	handle_wait(H, has(l, "ms"), get_u64(l, "ms"), &r);
	out_wait(&r);
}

static void h_wait_with_output(const line *l) {
	result_process r;
	handle_wait_with_output(H, has(l, "ms"), get_u64(l, "ms"), &r);
	out_result(&r);
}

static void h_os_pid(const line *l) {
	result_u32 r;
	handle_os_pid(H, &r);
	if (OK(r)) out_u64("pid", r.u.ok);
}

static void ok_handle(const line *l, u32 h) {
	out_word("ok");
	out_handle(l, h);
}

static void h_subscribe_exit(const line *l) { ok_handle(l, handle_subscribe_exit(H)); }
static void h_subscribe_logs(const line *l) { ok_handle(l, handle_subscribe_logs(H)); }

static void h_drop(const line *l) {
	handle_drop(H);
	out_word("ok");
}

static void p_ready(const line *l) {
	out_word("ok");
	out_bool("ready", pollable_ready(P));
}

static void p_block(const line *l) {
	result_unit r;
	ERRORS(poll_errors);
	pollable_block(P, &r);
	(void)OK(r);
}

static void p_poll(const line *l) {
	result_list r;
	list texts = all(l, "p");
	u32 *handles = alloc((l->n + 1) * sizeof *handles), n = 0;
	ERRORS(poll_errors);
	for (u32 i = 0; i < l->n; i++)
		if (!strcmp(l->fields[i].key, "p")) {
			line one = {"", "", &l->fields[i], 1};
			handles[n++] = get_handle(&one, "p");
		}
	poll_poll(handles, texts.len, &r);
	if (!OK(r)) return;
	for (u32 i = 0; i < r.u.ok.len; i++) out_u64("i", ((u32 *)r.u.ok.ptr)[i]);
}

static void p_drop(const line *l) {
	pollable_drop(P);
	out_word("ok");
}

#if REV != 70
static void spawn_persistent(const line *l) {
	spawn_request q = request(l);
	result_str r;
	process_spawn_persistent(&q, &r);
	if (OK(r)) out_value(l, "id", r.u.ok);
}

static void out_opt_u64(const char *key, u8 some, u64 v) {
	if (some) out_u64(key, v);
	else out_str(key, text("-"));
}

static void out_info(const process_info *i) {
	static const char *const phases[] = {"starting", "running", "exited"};
	out_str("id", i->id);
	out_str("label", i->label);
	out_str("command", i->command);
	out_opt_u64("os-pid", i->os_pid.some, i->os_pid.v);
	out_str("phase", text(phases[i->phase]));
	out_exit(i->exit.some, i->exit.v);
	out_u64("age-ms", i->age_ms);
	out_u64("idle-ms", i->idle_ms);
	out_u64("buffered-bytes", i->buffered);
	out_u64("bytes-dropped", i->dropped);
	out_bool("stdin-open", i->stdin_open);
	out_opt_u64("cpu-ms", i->cpu_ms.some, i->cpu_ms.v);
	out_opt_u64("mem-bytes-peak", i->mem_peak.some, i->mem_peak.v);
}

static void out_infos(const result_list *r) {
	if (!OK(*r)) return;
	for (u32 i = 0; i < r->u.ok.len; i++) {
		out_str("item", text(""));
		out_info((process_info *)r->u.ok.ptr + i);
	}
}

static void attach(const line *l) {
	result_u32 r;
	str id = get(l, "id");
	process_attach(id.ptr, id.len, &r);
	if (OK(r)) out_handle(l, r.u.ok);
}

static void list_processes(const line *l) {
	result_list r;
	str label = get(l, "label");
	process_list(has(l, "label"), label.ptr, label.len, &r);
	out_infos(&r);
}

static void status(const line *l) {
	result_info r;
	str id = get(l, "id");
	process_status(id.ptr, id.len, &r);
	if (OK(r)) out_info(&r.u.ok);
}

static void status_many(const line *l) {
	result_list r;
	list ids = all(l, "id");
	process_status_many(ids.ptr, ids.len, &r);
	out_infos(&r);
}

static void read_logs(const line *l) {
	result_logs r;
	str id = get(l, "id");
	process_read_logs(id.ptr, id.len, &r);
	out_logs(&r);
}

static void read_since(const line *l) {
	result_chunk r;
	str id = get(l, "id"), cursor = get(l, "cursor");
	process_read_since(id.ptr, id.len, same(get(l, "stream"), "stderr"), has(l, "cursor"), cursor.ptr, cursor.len, get_u64(l, "max"), &r);
	if (!OK(r)) return;
	out_str("data", r.u.ok.data);
	if (r.u.ok.next.token.some) out_value(l, "next", r.u.ok.next.token.v);
	else out_str("next", text("-"));
	out_u64("dropped", r.u.ok.dropped);
	out_bool("eof", r.u.ok.eof);
}

static void write_stdin(const line *l) {
	result_u32 r;
	str id = get(l, "id"), data = get(l, "data");
	process_write_stdin(id.ptr, id.len, data.ptr, data.len, &r);
	if (OK(r)) out_u64("n", r.u.ok);
}

static void close_stdin(const line *l) {
	result_unit r;
	str id = get(l, "id");
	process_close_stdin(id.ptr, id.len, &r);
	(void)OK(r);
}

static void signal(const line *l) {
	result_unit r;
	str id = get(l, "id");
	process_signal(id.ptr, id.len, signal_of(l), &r);
	(void)OK(r);
}

static void wait(const line *l) {
	result_exit r;
	str id = get(l, "id");
	process_wait(id.ptr, id.len, get_u64(l, "ms"), &r);
	out_wait(&r);
}

static void stop(const line *l) {
	result_exit r;
	str id = get(l, "id");
	process_stop(id.ptr, id.len, has(l, "grace"), get_u64(l, "grace"), &r);
	out_wait(&r);
}

static void release_process(const line *l) {
	result_unit r;
	str id = get(l, "id");
	process_release(id.ptr, id.len, &r);
	(void)OK(r);
}

static void watch(const line *l) {
	result_unit r;
	str id = get(l, "id"), suffix = get(l, "suffix");
	process_watch(id.ptr, id.len, has(l, "suffix"), suffix.ptr, suffix.len, &r);
	(void)OK(r);
}

static void unwatch(const line *l) {
	result_unit r;
	str id = get(l, "id");
	process_unwatch(id.ptr, id.len, &r);
	(void)OK(r);
}
#endif

static void get_config(const line *l) {
	result_opt_str r;
	str key = get(l, "key");
	ERRORS(sys_errors);
	sys_get_config(key.ptr, key.len, &r);
	if (OK(r)) out_str("value", r.u.ok.some ? r.u.ok.v : text("-"));
}

static void get_caller(const line *l) {
	result_caller r;
	(void)l;
	ERRORS(sys_errors);
	sys_get_caller(&r);
	if (!OK(r)) return;
	out_str("principal", r.u.ok.principal.some ? r.u.ok.principal.v : text("-"));
	out_str("source-id", r.u.ok.source);
	out_str("timestamp", r.u.ok.timestamp);
}

static void log_(const line *l) {
	static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
	str level = get(l, "level"), message = get(l, "message");
	u32 n = 0;
	while (n < 4 && !same(level, levels[n])) n++;
	sys_log(n, message.ptr, message.len);
	out_word("ok");
}

static void signal_ready(const line *l) {
	(void)l;
	sys_signal_ready();
	out_word("ok");
}

static void clock_ms(const line *l) {
	(void)l;
	out_word("ok");
	out_u64("clock", sys_clock_ms());
}

static void clock_monotonic_ns(const line *l) {
	(void)l;
	u64 a = sys_clock_monotonic_ns(), b = sys_clock_monotonic_ns();
	out_word("ok");
	out_bool("forward", a <= b && b - a < 60000000000ull);
}

static void sleep_ns(const line *l) {
	result_unit r;
	u64 ns = get_u64(l, "ns"), began = sys_clock_monotonic_ns();
	ERRORS(sys_errors);
	sys_sleep_ns(ns, &r);
	if (OK(r)) out_bool("slept", sys_clock_monotonic_ns() - began >= ns);
}

static void random_bytes(const line *l) {
	result_list r;
	ERRORS(sys_errors);
	sys_random_bytes(get_u64(l, "n"), &r);
	if (OK(r)) out_u64("n", r.u.ok.len);
}

static void check_capability(const line *l) {
	result_unit r;
	str source = get(l, "source"), capability = get(l, "capability");
	ERRORS(sys_errors);
	sys_check_capability(source.ptr, source.len, capability.ptr, capability.len, &r);
	if (OK(r)) out_bool("allowed", *(u8 *)&r.u.ok);
}

static void enumerate_capabilities(const line *l) {
	list r;
	(void)l;
	sys_enumerate_capabilities(&r);
	out_word("ok");
	for (u32 i = 0; i < r.len; i++) out_str("capability", ((str *)r.ptr)[i]);
}

static void publish(const line *l) {
	result_unit r;
	str topic = get(l, "topic"), payload = get(l, "payload");
	ERRORS(ipc_errors);
	ipc_publish(topic.ptr, topic.len, payload.ptr, payload.len, &r);
	(void)OK(r);
}

static void publish_as(const line *l) {
	result_unit r;
	str topic = get(l, "topic"), payload = get(l, "payload"), as = get(l, "as");
	ERRORS(ipc_errors);
	ipc_publish_as(topic.ptr, topic.len, payload.ptr, payload.len, as.ptr, as.len, &r);
	(void)OK(r);
}

static void subscribe(const line *l) {
	result_u32 r;
	str topic = get(l, "topic");
	ERRORS(ipc_errors);
	ipc_subscribe(topic.ptr, topic.len, &r);
	if (OK(r)) out_handle(l, r.u.ok);
}

static void out_envelope(const result_envelope *r) {
	static const char *const kinds[] = {"verified", "claimed", "system"};
	if (!OK(*r)) return;
	out_u64("dropped", r->u.ok.dropped);
	out_u64("lagged", r->u.ok.lagged);
	for (u32 i = 0; i < r->u.ok.messages.len; i++) {
		const ipc_message *m = (ipc_message *)r->u.ok.messages.ptr + i;
		out_str("item", text(""));
		out_str("topic", m->topic);
		out_str("payload", m->payload);
		out_str("source", m->source);
		out_str("by", text(kinds[m->principal.kind]));
		if (m->principal.kind < 2) out_str("principal", m->principal.name);
	}
}

static void s_poll(const line *l) {
	result_envelope r;
	ERRORS(ipc_errors);
	subscription_poll(get_handle(l, "s"), &r);
	out_envelope(&r);
}

static void s_recv(const line *l) {
	result_envelope r;
	ERRORS(ipc_errors);
	subscription_recv(get_handle(l, "s"), get_u64(l, "ms"), &r);
	out_envelope(&r);
}

static void s_readiness(const line *l) { ok_handle(l, subscription_readiness(get_handle(l, "s"))); }

static void s_drop(const line *l) {
	subscription_drop(get_handle(l, "s"));
	out_word("ok");
}

static void bindings(const line *l) {
	result_list r;
	(void)l;
	ERRORS(ipc_errors);
	ipc_bindings(&r);
	if (!OK(r)) return;
	for (u32 i = 0; i < r.u.ok.len; i++) {
		const ipc_binding *b = (ipc_binding *)r.u.ok.ptr + i;
		out_str("item", text(""));
		out_str("action", b->action);
		out_str("topic", b->topic);
	}
}

/* What tells instances apart, and two ways to lose one. */
static u32 calls;

static void count(const line *l) {
	(void)l;
	out_word("ok");
	out_u64("calls", ++calls);
}

static void spin(const line *l) {
	(void)l;
	for (volatile u32 i = 0;; i++) {}
}

static void trap(const line *l) {
	(void)l;
	__builtin_trap();
}

static const struct { const char *name; void (*run)(const line *); } ops[] = {
	{"spawn", spawn}, {"spawn-background", spawn_background},
	{"h.read-logs", h_read_logs}, {"h.signal", h_signal}, {"h.kill", h_kill}, {"h.wait", h_wait}, {"h.os-pid", h_os_pid}, {"h.drop", h_drop},
	{"h.write-stdin", h_write_stdin}, {"h.close-stdin", h_close_stdin}, {"h.wait-with-output", h_wait_with_output},
	{"h.subscribe-exit", h_subscribe_exit}, {"h.subscribe-logs", h_subscribe_logs},
	{"p.ready", p_ready}, {"p.block", p_block}, {"poll", p_poll}, {"p.drop", p_drop},
#if REV != 70
	{"spawn-persistent", spawn_persistent}, {"attach", attach}, {"list-processes", list_processes}, {"status", status},
	{"status-many", status_many}, {"read-logs", read_logs}, {"read-since", read_since}, {"write-stdin", write_stdin},
	{"close-stdin", close_stdin}, {"signal", signal}, {"wait", wait}, {"stop", stop}, {"release-process", release_process},
	{"watch", watch}, {"unwatch", unwatch},
#endif
	{"get-config", get_config}, {"get-caller", get_caller}, {"log", log_}, {"signal-ready", signal_ready},
	{"clock-ms", clock_ms}, {"clock-monotonic-ns", clock_monotonic_ns}, {"sleep-ns", sleep_ns}, {"random-bytes", random_bytes},
	{"check-capsule-capability", check_capability}, {"enumerate-capabilities", enumerate_capabilities},
	{"publish", publish}, {"publish-as", publish_as}, {"subscribe", subscribe}, {"s.poll", s_poll}, {"s.recv", s_recv},
	{"s.subscribe-readiness", s_readiness}, {"s.drop", s_drop}, {"get-interceptor-bindings", bindings},
	{"count", count}, {"spin", spin}, {"trap", trap},
};

static void run_line(const line *l) {
	ERRORS(process_errors);
	for (u32 i = 0; i < sizeof ops / sizeof *ops; i++)
		if (!strcmp(ops[i].name, l->op)) {
			ops[i].run(l);
			return;
		}
	out_word("no such op");
}

static struct { str action; opt_str data; } answer;
SIZE(answer, 20);

__attribute__((export_name("astrid-hook-trigger"))) void *hook(char *action, u32 action_len, char *payload, u32 len) {
	(void)action, (void)action_len;
	char *at = alloc(len + 1);
	memcpy(at, payload, len);
	for (char *end = at + len; at < end;) {
		line l;
		at = parse_line(at, end, &l);
		run_line(&l);
		out_end_line();
	}
	answer.action = text("continue");
	answer.data = (opt_str){1, out_take()};
	return &answer;
}

__attribute__((export_name("cabi_post_astrid-hook-trigger"))) void post(void *p) {
	(void)p;
	free_all();
}
