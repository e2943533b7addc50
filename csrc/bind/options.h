/* Options in a table argument, and elements of a list. Every function may throw, with the argument's number
 * and what it is about. */
#ifndef BIND_OPTIONS_H
#define BIND_OPTIONS_H

#include <lua.h>
#include <stdbool.h>

#include "bind/bind.h"
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
/* Pushes the object `name`, which stays on the stack while it is used. Returns its pointer; NULL (and a nil)
 * where it is absent. */
void *bind_option_object(lua_State *L, int arg, const char *name, const bind_type *type);
/* Reads the wallet address `name`. Returns false where it is absent. */
bool bind_option_address(uint8_t address20[20], lua_State *L, int arg, const char *name);

/* Element `i`, from 1, of the list at `arg`: pushes it, and it stays on the stack while the result is used.
 */
const uint8_t *bind_element_bytes(lua_State *L, int arg, lua_Integer i, size_t len);
void *bind_element_object(lua_State *L, int arg, lua_Integer i, const bind_type *type);
/* Reads it; nothing stays on the stack. */
void bind_element_address(uint8_t address20[20], lua_State *L, int arg, lua_Integer i);

#endif
