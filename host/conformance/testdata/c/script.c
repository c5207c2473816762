#include "script.h"

#include <stdlib.h>
#include <string.h>

/* Blocks are chained and freed together when the answer has been read. */
typedef struct block { struct block *next; u64 pad; } block;
static block *blocks;

void *alloc(size_t n) {
	block *b = malloc(sizeof *b + n);
	if (!b) __builtin_trap();
	b->next = blocks;
	blocks = b;
	return b + 1;
}

void free_all(void) {
	while (blocks) {
		block *next = blocks->next;
		free(blocks);
		blocks = next;
	}
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
	(void)align;
	void *p = alloc(size);
	if (old_size) memcpy(p, old, old_size < size ? old_size : size);
	return p;
}

str text(const char *s) { return (str){(char *)s, strlen(s)}; }
bool same(str a, const char *b) { return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0; }

/* Variables live as long as the instance. */
enum { VARS = 64 };
static struct { char name[32]; char *value; u32 len; } vars[VARS];

static void set_var(const char *name, str value) {
	int i = 0;
	while (i < VARS - 1 && vars[i].name[0] && strcmp(vars[i].name, name)) i++;
	strncpy(vars[i].name, name, sizeof vars[i].name - 1);
	free(vars[i].value);
	vars[i].value = malloc(value.len + 1);
	memcpy(vars[i].value, value.ptr, value.len);
	vars[i].len = value.len;
}

static str get_var(const char *name) {
	for (int i = 0; i < VARS; i++)
		if (!strcmp(vars[i].name, name)) return (str){vars[i].value, vars[i].len};
	__builtin_trap();
}

static int unhex(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

static str decode(char *s) {
	char *to = s, *from = s;
	for (; *from; from++) {
		if (*from == '%') {
			*to++ = unhex(from[1]) << 4 | unhex(from[2]);
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	return (str){s, to - s};
}

static str repeat(str s, u32 n) {
	str r = {alloc((size_t)s.len * n), s.len * n};
	for (u32 i = 0; i < n; i++) memcpy(r.ptr + i * s.len, s.ptr, s.len);
	return r;
}

static str pad(str s, u32 n) {
	str r = {alloc((size_t)s.len + n), s.len + n};
	memcpy(r.ptr, s.ptr, s.len);
	memset(r.ptr + s.len, 'x', n);
	return r;
}

/* KEY=VALUE, KEY*N=VALUE (N times the value), KEY+N=VALUE (and N times x) or
 * KEY$=VAR. */
static field parse_field(char *s) {
	field f = {s, {0, 0}};
	char *eq = strchr(s, '=');
	*eq = 0;
	if (eq[-1] == '$') {
		eq[-1] = 0;
		f.value = get_var(eq + 1);
		return f;
	}
	f.value = decode(eq + 1);
	char *many = strpbrk(s, "*+");
	if (many) {
		u32 n = strtoul(many + 1, 0, 10);
		f.value = *many == '*' ? repeat(f.value, n) : pad(f.value, n);
		*many = 0;
	}
	return f;
}

char *parse_line(char *s, char *end, line *l) {
	char *stop = memchr(s, '\n', end - s);
	if (!stop) stop = end;
	u32 tabs = 0;
	for (char *p = s; p < stop; p++) tabs += *p == '\t';
	*stop = 0;
	l->fields = alloc((tabs + 1) * sizeof(field));
	l->n = 0;
	l->var = s;
	for (u32 i = 0; i < tabs; i++) {
		s = strchr(s, '\t');
		*s++ = 0;
		if (i == 0) l->op = s;
	}
	s = l->op;
	for (u32 i = 1; i < tabs; i++) {
		s += strlen(s) + 1;
		l->fields[l->n++] = (field){s, {0, 0}};
	}
	for (u32 i = 0; i < l->n; i++) l->fields[i] = parse_field(l->fields[i].key);
	return stop + 1;
}

static const field *find(const line *l, const char *key) {
	for (u32 i = 0; i < l->n; i++)
		if (!strcmp(l->fields[i].key, key)) return &l->fields[i];
	return 0;
}

bool has(const line *l, const char *key) { return find(l, key) != 0; }

str get(const line *l, const char *key) {
	const field *f = find(l, key);
	return f ? f->value : (str){"", 0};
}

opt_str get_opt(const line *l, const char *key) { return (opt_str){has(l, key), get(l, key)}; }

static u64 number(str s) {
	u64 n = 0;
	for (u32 i = 0; i < s.len; i++) n = n * 10 + (s.ptr[i] - '0');
	return n;
}

u64 get_u64(const line *l, const char *key) { return number(get(l, key)); }
opt_u64 get_opt_u64(const line *l, const char *key) { return (opt_u64){has(l, key), get_u64(l, key)}; }
u32 get_handle(const line *l, const char *key) { return get_u64(l, key); }

list all(const line *l, const char *key) {
	str *v = alloc((l->n + 1) * sizeof(str));
	list r = {v, 0};
	for (u32 i = 0; i < l->n; i++)
		if (!strcmp(l->fields[i].key, key)) v[r.len++] = l->fields[i].value;
	return r;
}

/* The answer's text. */
static struct { char *ptr; size_t len, cap; } out;

static void put(const char *s, size_t n) {
	if (out.len + n > out.cap) {
		out.cap = (out.cap + n) * 2;
		out.ptr = realloc(out.ptr, out.cap);
		if (!out.ptr) __builtin_trap();
	}
	memcpy(out.ptr + out.len, s, n);
	out.len += n;
}

static bool bol = true;

static void separate(void) {
	if (!bol) put("\t", 1);
	bol = false;
}

void out_word(const char *s) {
	separate();
	put(s, strlen(s));
}

void out_end_line(void) {
	put("\n", 1);
	bol = true;
}

str out_take(void) {
	str s = {out.ptr, out.len};
	out.len = 0;
	return s;
}

static const char hex[] = "0123456789abcdef";

static void put_u64(u64 n) {
	char digits[20];
	int i = 20;
	do digits[--i] = '0' + n % 10;
	while (n /= 10);
	put(digits + i, 20 - i);
}

static void put_encoded(str s) {
	for (u32 i = 0; i < s.len; i++) {
		u8 c = s.ptr[i];
		if (c > ' ' && c < 0x7f && c != '%') {
			put((char *)&c, 1);
		} else {
			char e[3] = {'%', hex[c >> 4], hex[c & 15]};
			put(e, 3);
		}
	}
}

/* A long value is told by its length, the FNV-1a sum of bytes spread over it,
 * and its last 8 bytes. */
enum { LONG = 2048 };

static void put_sum(str s) {
	u32 sum = 2166136261u, step = s.len / LONG;
	for (u32 i = 0; i < s.len; i += step) sum = (sum ^ (u8)s.ptr[i]) * 16777619u;
	put_u64(s.len);
	put(":", 1);
	for (int shift = 28; shift >= 0; shift -= 4) put(&hex[sum >> shift & 15], 1);
	put(":", 1);
	put_encoded((str){s.ptr + s.len - 8, 8});
}

void out_str(const char *key, str s) {
	out_word(key);
	if (s.len > LONG) {
		put("#=", 2);
		put_sum(s);
	} else {
		put("=", 1);
		put_encoded(s);
	}
}

void out_u64(const char *key, u64 n) {
	out_word(key);
	put("=", 1);
	put_u64(n);
}

void out_value(const line *l, const char *key, str s) {
	out_str(key, s);
	if (l->var[0]) set_var(l->var, s);
}

void out_handle(const line *l, u32 h) {
	char digits[10];
	int i = 10;
	for (u32 n = h; n || i == 10; n /= 10) digits[--i] = '0' + n % 10;
	out_value(l, "handle", (str){digits + i, 10 - i});
}
