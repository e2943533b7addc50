/* Making a policy VM, loading files into it, reading what they returned. */
#include "policy/vm_internal.h"

#include <string.h>

#include "base/mem.h"

#define PIECE_BYTES 256 /* of a file, between two looks at the safety net while it is compiled */

static kms_status open_state(vm_state *vm)
{
	lua_State *L = lua_newstate(vm_alloc, vm);
	if (!L) return KMS_ERR_MEMORY;
	*(vm_state **)lua_getextraspace(L) = vm;
	vm->L = L;
	vm_check_stack(vm);
	return vm_run(vm, vm->instructions * VM_LOAD_FACTOR, vm_open_libraries, NULL) == VM_COMPLETE
		   ? KMS_OK
		   : KMS_ERR_MEMORY;
}

kms_status vm_new(vm_state **vm, const vm_config *config)
{
	vm_state *made = kms_heap_alloc(1, sizeof(*made));
	*vm = NULL;
	if (!made) return KMS_ERR_MEMORY;
	made->max_bytes = config->max_bytes;
	made->instructions = config->instructions;
	made->buckets = config->buckets;
	made->store = config->store;
	kms_status status = open_state(made);
	if (status != KMS_OK) {
		vm_free(made);
		return status;
	}
	made->trace = config->trace;
	*vm = made;
	return KMS_OK;
}

void vm_free(vm_state *vm)
{
	if (!vm) return;
	if (vm->L) lua_close(vm->L);
	kms_heap_free(vm);
}

/* ---- load ---- */

typedef struct loading {
	const char *name;
	kms_text rest; /* of the source: what is still to be read */
	size_t jump_words;
} loading;

static bool is_jump_word(const char *word, size_t len)
{
	static const char *const words[] = { "and", "or", "not", "elseif", "break", "goto" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == len && memcmp(words[i], word, len) == 0) return true;
	return false;
}

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/*
 * Lua's compiler keeps jumps and labels in lists and walks through one at each of these words: n of them can
 * take n²/2 steps. Words in comments and texts count too, since telling them apart takes a lexer.
 */
static size_t count_jump_words(kms_text source)
{
	size_t count = 0;
	for (size_t at = 0; at < source.len;) {
		size_t end = at;
		while (end < source.len && is_word_byte(source.text[end]))
			end++;
		bool label = end == at && at + 1 < source.len && memcmp(source.text + at, "::", 2) == 0;
		if (label || is_jump_word(source.text + at, end - at)) count++;
		at = end > at ? end : at + (label ? 2 : 1);
	}
	return count;
}

static const char *read_piece(lua_State *L, void *context, size_t *size)
{
	loading *l = context;
	if (vm_net_reached(vm_of(L))) vm_stop(L, VM_OVERRUN, "it takes too long to compile");
	const char *piece = l->rest.text;
	*size = l->rest.len < PIECE_BYTES ? l->rest.len : PIECE_BYTES;
	l->rest.text += *size;
	l->rest.len -= *size;
	return piece;
}

/* Runs a file in the policies' environment and keeps the table that it returns. */
static int load_file(lua_State *L)
{
	vm_state *vm = vm_of(L);
	loading *l = lua_touserdata(L, 1);
	if (l->jump_words > VM_MAX_JUMP_WORDS)
		return vm_stop(
		    L, VM_OVERRUN,
		    "it takes too long to compile: it has more than 8192 of the words and, or, not, "
		    "elseif, break, goto and of labels");
	const char *chunk = lua_pushfstring(L, "=%s.lua", l->name);
	/* "t": bytecode could do anything to this process. */
	if (lua_load(L, read_piece, l, chunk, "t") != LUA_OK) return lua_error(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->env);
	lua_setupvalue(L, -2, 1);
	lua_call(L, 0, 1);
	if (!lua_istable(L, -1)) return luaL_error(L, "%s.lua does not return a table", l->name);
	/* A copy: hooks are called by their place, and a file that changes its table must not move them. */
	const char *wrong = vm_copy(L, vm, L, -1, VM_FUNCTIONS_SHARED);
	if (wrong) return vm_stop(L, VM_NONSENSE, wrong);
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->files);
	lua_insert(L, -2);
	lua_setfield(L, -2, l->name);
	lua_settop(L, 1);
	/* Garbage of loading must not count as what the file holds. */
	lua_gc(L, LUA_GCCOLLECT);
	if (vm->bytes > vm->max_bytes / 2)
		return vm_stop(L, VM_MEMORY, "it holds more than half of the memory");
	return 0;
}

vm_end vm_load(vm_state *vm, const char *name, kms_text source)
{
	loading l = { name, source, count_jump_words(source) };
	vm->in_hook = false;
	return vm_run(vm, vm->instructions * VM_LOAD_FACTOR, load_file, &l);
}

/* ---- data in and out ---- */

const char *vm_read(lua_State *host, vm_state *vm, const char *name)
{
	lua_State *L = vm->L;
	vm_reset(vm);
	vm->budget = vm->instructions;
	lua_rawgeti(L, LUA_REGISTRYINDEX, vm->files);
	/* No lua_getfield: making a string of the name could throw here. */
	for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
		if (strcmp(lua_tostring(L, 2), name) != 0) continue;
		const char *wrong = vm_copy(host, vm, L, 3, VM_FUNCTIONS_AS_LINES);
		lua_settop(L, 0);
		return wrong;
	}
	return "not loaded";
}

typedef struct providing {
	lua_State *host;
	const char *name;
	int index, table; /* of the host; a reference of the VM */
} providing;

static int provide(lua_State *L)
{
	providing *p = lua_touserdata(L, 1);
	lua_rawgeti(L, LUA_REGISTRYINDEX, p->table);
	const char *wrong = vm_copy(L, vm_of(L), p->host, p->index, VM_FUNCTIONS_REFUSED);
	if (wrong) return vm_stop(L, VM_NONSENSE, wrong);
	lua_setfield(L, -2, p->name);
	return 0;
}

vm_end vm_provide(vm_state *vm, lua_State *host, int index, vm_table table, const char *name)
{
	providing p = { host, name, index, table == VM_KNOWN_FACTS ? vm->known : vm->provided };
	/* Copying needs room on the host's stack and must not have to ask for it inside the VM. */
	luaL_checkstack(host, 4 * VM_MAX_DEPTH + 8, NULL);
	return vm_run(vm, vm->instructions * VM_LOAD_FACTOR, provide, &p);
}

/* ---- what can be asked ---- */

const char *vm_end_text(const vm_state *vm)
{
	return vm->end_text;
}

uint64_t vm_work(const vm_state *vm)
{
	return vm->spent;
}

int vm_return_line(const char **file, const vm_state *vm)
{
	*file = vm->return_file;
	return vm->return_line;
}

size_t vm_bytes(size_t *max_bytes, const vm_state *vm)
{
	*max_bytes = vm->max_bytes;
	return vm->bytes;
}
