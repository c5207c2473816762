/* The interpreter's own side: the lines of a script, and the answer's text. */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "astrid.h"

/* One line: VAR \t OP \t KEY=VALUE \t … ; see doc.go of the suite. */
typedef struct { char *key; str value; } field;
typedef struct { char *var, *op; field *fields; u32 n; } line;

/* parse_line cuts the line that starts at text, in place, and returns what
 * follows it. */
char *parse_line(char *text, char *end, line *);

/* The value of a field: the first of that key, or none. */
bool has(const line *, const char *key);
str get(const line *, const char *key);
opt_str get_opt(const line *, const char *key);
u64 get_u64(const line *, const char *key);
opt_u64 get_opt_u64(const line *, const char *key);
u32 get_handle(const line *, const char *key);

/* all makes a list of the values of a key. */
list all(const line *, const char *key);

/* An answer is built from words and fields; end_line begins the next line. */
void out_word(const char *);
void out_str(const char *key, str);
void out_u64(const char *key, u64);
void out_end_line(void);
str out_take(void);

/* A field named id, handle or next is what the line's variable gets. */
void out_value(const line *, const char *key, str);
void out_handle(const line *, u32);

/* Memory that lasts until the answer was read. */
void *alloc(size_t);
void free_all(void);

str text(const char *);
bool same(str, const char *);

#endif
