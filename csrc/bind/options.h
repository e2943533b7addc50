/* Options in a table argument. Every function may throw, with the argument's number. */
#ifndef BIND_OPTIONS_H
#define BIND_OPTIONS_H

#include <lua.h>
#include <stdbool.h>

#include "kms/view.h"

/* Throws when the table at `arg` has a member that is not in `names` (NULL-terminated). */
void bind_options_check(lua_State *L, int arg, const char *const *names);
/* The integer `name` within [min, max], or `fallback` where it is absent. */
lua_Integer bind_option_integer(lua_State *L, int arg, const char *name, lua_Integer min, lua_Integer max,
				lua_Integer fallback);
/* The boolean `name`, false where it is absent. */
bool bind_option_boolean(lua_State *L, int arg, const char *name);
/* Pushes the string `name`, which stays on the stack while the text is used; absent (and a nil) where it is.
 */
kms_text bind_option_text(lua_State *L, int arg, const char *name);

#endif
