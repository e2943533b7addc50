/* Contract calls, the data they return, and transactions, in JSON-RPC's hexadecimal. */
#include "bind/bind.h"

#include <string.h>

#include "bind/keys.h"
#include "bind/options.h"
#include "bind/topics.h"
#include "kms/abi.h"
#include "kms/codec.h"
#include "kms/eth_text.h"
#include "kms/tx.h"

/* ---- calls -------------------------------------------------------------------------------------- */

static const kms_abi_function *check_function(lua_State *L, int arg)
{
	const kms_abi_function *function = kms_abi_find(luaL_checkstring(L, arg));
	if (!function) luaL_argerror(L, arg, "not a function of the registries");
	return function;
}

/* An argument of a call: decimal text (unsigned 64-bit), an address, or 32 bytes of hex. */
static void check_word(uint8_t word[KMS_ABI_WORD], lua_State *L, int arg, char type)
{
	size_t len;
	uint64_t number;
	uint8_t address[20];
	const char *text = luaL_checklstring(L, arg, &len);
	if (type == 'a') {
		bind_arg_address(address, L, arg);
		kms_abi_word_address(word, address);
		return;
	}
	if (type == 'b') {
		if (kms_hex_decode(kms_out_of(word, KMS_ABI_WORD), kms_text_of(text, len)) != KMS_OK)
			luaL_argerror(L, arg, "must be 32 bytes of hex");
		return;
	}
	if (kms_decimal_parse(&number, kms_text_of(text, len)) != KMS_OK)
		luaL_argerror(L, arg, "must be decimal digits");
	kms_abi_word_number(word, number);
}

/* abi_call(name, ...) -> "0x" + selector and arguments | nil, message, code */
static int abi_call(lua_State *L)
{
	uint8_t words[KMS_ABI_MAX_ARGUMENTS][KMS_ABI_WORD];
	const kms_abi_function *function = check_function(L, 1);
	int count = (int)strlen(function->arguments);
	if (lua_gettop(L) != count + 1)
		return luaL_error(L, "%s takes %d arguments", function->signature, count);
	for (int i = 0; i < count; i++)
		check_word(words[i], L, i + 2, function->arguments[i]);
	kms_buf call = kms_buf_make(KMS_BUF_PLAIN, 4 + sizeof(words));
	uint8_t bytes[4 + sizeof(words)];
	kms_status status = kms_abi_encode(&call, function, (const uint8_t(*)[KMS_ABI_WORD])words);
	size_t len = call.len;
	if (status == KMS_OK) memcpy(bytes, call.data, len);
	kms_buf_free(&call); /* before anything below can throw */
	if (status != KMS_OK) return bind_fail(L, status);
	bind_push_hex(L, bytes, len);
	return 1;
}

/* abi_selector(signature) -> "0x" + 8 digits: of a function, or of a custom error */
static int abi_selector(lua_State *L)
{
	uint8_t selector[4];
	kms_abi_selector(selector, luaL_checkstring(L, 1));
	bind_push_hex(L, selector, sizeof(selector));
	return 1;
}

/* ---- returned data -------------------------------------------------------------------------------- */

/* As decimal text: ids are unsigned 64-bit, Lua integers are signed. */
static void push_u64(lua_State *L, uint64_t number)
{
	char storage[KMS_DECIMAL_MAX];
	kms_text digits = kms_decimal_format(storage, number);
	lua_pushlstring(L, digits.text, digits.len);
}

static void set_id(lua_State *L, const char *name, uint64_t id)
{
	push_u64(L, id);
	lua_setfield(L, -2, name);
}

static void set_address(lua_State *L, const char *name, const uint8_t address20[20])
{
	bind_push_hex(L, address20, 20);
	lua_setfield(L, -2, name);
}

static void set_text(lua_State *L, const char *name, kms_text text)
{
	lua_pushlstring(L, text.text, text.len);
	lua_setfield(L, -2, name);
}

static kms_status push_app(lua_State *L, kms_span data)
{
	kms_abi_app app;
	kms_status status = kms_abi_decode_app(&app, data);
	if (status != KMS_OK) return status;
	lua_createtable(L, 0, 2);
	set_id(L, "id", app.id);
	bind_set_integer(L, "status", app.status);
	return KMS_OK;
}

static kms_status push_version(lua_State *L, kms_span data)
{
	kms_abi_version version;
	kms_status status = kms_abi_decode_version(&version, data);
	if (status != KMS_OK) return status;
	lua_createtable(L, 0, 2);
	set_id(L, "id", version.id);
	bind_set_integer(L, "status", version.status);
	return KMS_OK;
}

static kms_status push_instance(lua_State *L, kms_span data)
{
	kms_abi_instance instance;
	kms_status status = kms_abi_decode_instance(&instance, data);
	if (status != KMS_OK) return status;
	lua_createtable(L, 0, 10);
	set_id(L, "id", instance.id);
	set_id(L, "app_id", instance.app_id);
	set_id(L, "version_id", instance.version_id);
	set_address(L, "operator", instance.operator20);
	set_address(L, "wallet", instance.wallet20);
	set_text(L, "url", instance.url);
	set_text(L, "tee_pubkey", instance.tee_pubkey);
	lua_pushboolean(L, instance.zk_verified);
	lua_setfield(L, -2, "zk_verified");
	bind_set_integer(L, "status", instance.status);
	bind_set_integer(L, "registered_at", instance.registered_at_s);
	return KMS_OK;
}

static kms_status push_anchor(lua_State *L, kms_span data)
{
	kms_abi_anchor anchor;
	kms_status status = kms_abi_decode_anchor(&anchor, data);
	if (status != KMS_OK) return status;
	lua_createtable(L, 0, 3);
	bind_push_hex(L, anchor.manifest32, sizeof(anchor.manifest32));
	lua_setfield(L, -2, "manifest");
	bind_set_integer(L, "time", (lua_Integer)anchor.time_s);
	set_address(L, "member", anchor.member20);
	return KMS_OK;
}

static kms_status push_addresses(lua_State *L, kms_span data)
{
	kms_abi_list list;
	kms_status status = kms_abi_decode_addresses(&list, data);
	if (status != KMS_OK) return status;
	lua_createtable(L, (int)list.count, 0);
	for (size_t i = 0; i < list.count; i++) {
		bind_push_hex(L, kms_abi_list_address20(&list, i), 20);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return KMS_OK;
}

static kms_status push_numbers(lua_State *L, kms_span data)
{
	kms_abi_list list;
	kms_status status = kms_abi_decode_numbers(&list, data);
	if (status != KMS_OK) return status;
	lua_createtable(L, (int)list.count, 0);
	for (size_t i = 0; i < list.count; i++) {
		push_u64(L, kms_abi_list_number(&list, i));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return KMS_OK;
}

static kms_status push_number(lua_State *L, kms_span data)
{
	uint64_t number;
	kms_status status = kms_abi_decode_number(&number, data);
	if (status == KMS_OK) push_u64(L, number);
	return status;
}

static kms_status push_address(lua_State *L, kms_span data)
{
	uint8_t address[20];
	kms_status status = kms_abi_decode_address(address, data);
	if (status == KMS_OK) bind_push_hex(L, address, sizeof(address));
	return status;
}

static kms_status push_bytes32(lua_State *L, kms_span data)
{
	uint8_t bytes[32];
	kms_status status = kms_abi_decode_bytes32(bytes, data);
	if (status == KMS_OK) bind_push_hex(L, bytes, sizeof(bytes));
	return status;
}

static kms_status push_bool(lua_State *L, kms_span data)
{
	bool truth;
	kms_status status = kms_abi_decode_bool(&truth, data);
	if (status == KMS_OK) lua_pushboolean(L, truth);
	return status;
}

static kms_status push_nothing(lua_State *L, kms_span data)
{
	lua_pushboolean(L, 1);
	return data.len == 0 ? KMS_OK : KMS_ERR_ABI;
}

/*
 * abi_decode(name, hex) -> what the function returns | nil, message, code. Ids and numbers are
 * decimal text, statuses and times integers, addresses and hashes hex, a teePubkey bytes.
 */
static int abi_decode(lua_State *L)
{
	static kms_status (*const push[])(lua_State *, kms_span) = {
		[KMS_ABI_NOTHING] = push_nothing,     [KMS_ABI_APP] = push_app,
		[KMS_ABI_VERSION] = push_version,     [KMS_ABI_INSTANCE] = push_instance,
		[KMS_ABI_ADDRESSES] = push_addresses, [KMS_ABI_NUMBERS] = push_numbers,
		[KMS_ABI_NUMBER] = push_number,       [KMS_ABI_ADDRESS] = push_address,
		[KMS_ABI_BYTES32] = push_bytes32,     [KMS_ABI_BOOL] = push_bool,
		[KMS_ABI_ANCHOR] = push_anchor,
	};
	kms_text text;
	const kms_abi_function *function = check_function(L, 1);
	text.text = luaL_checklstring(L, 2, &text.len);
	if (text.len < 2 || text.text[0] != '0' || text.text[1] != 'x') return bind_fail(L, KMS_ERR_ABI);
	text = kms_hex_strip(text);
	size_t len = text.len / 2;
	uint8_t *data = lua_newuserdatauv(L, len + 1, 0);
	if (kms_hex_decode(kms_out_of(data, len), text) != KMS_OK) return bind_fail(L, KMS_ERR_ABI);
	kms_status status = push[function->result](L, kms_span_of(data, len));
	return status == KMS_OK ? 1 : bind_fail(L, status);
}

/* ---- transactions ----------------------------------------------------------------------------------- */

#define MAX_TX_REST 512 /* bytes of a signed transaction without its data */

/* A text member of the table at 2; it stays on the stack. */
static kms_text member(lua_State *L, const char *name)
{
	kms_text text;
	if (lua_getfield(L, 2, name) != LUA_TSTRING)
		luaL_argerror(L, 2, lua_pushfstring(L, "field '%s' must be text", name));
	text.text = lua_tolstring(L, -1, &text.len);
	return text;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	if (c >= 'a' && c <= 'f') return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A quantity of JSON-RPC: 0x and 1 to 16 digits. */
static uint64_t member_quantity(lua_State *L, const char *name)
{
	uint64_t number = 0;
	kms_text text = member(L, name);
	bool valid = text.len >= 3 && text.len <= 18 && text.text[0] == '0' && text.text[1] == 'x';
	for (size_t i = 2; valid && i < text.len; i++) {
		valid = digit(text.text[i]) >= 0;
		number = number << 4 | (uint64_t)digit(text.text[i]);
	}
	if (!valid) luaL_argerror(L, 2, lua_pushfstring(L, "field '%s' is not a quantity of 64 bits", name));
	return number;
}

/*
 * sign_transaction(wallet, fields) -> raw transaction, hash, both hex | nil, message, code.
 * Fields: chain_id, nonce, max_priority_fee_per_gas, max_fee_per_gas, gas_limit, value
 * (quantities), to (address), data (hex of at most 64 KiB).
 */
static int sign_transaction(lua_State *L)
{
	static const char *const names[] = { "chain_id",        "nonce",     "max_priority_fee_per_gas",
					     "max_fee_per_gas", "gas_limit", "to",
					     "value",           "data",      NULL };
	uint8_t hash[32];
	kms_text digits;
	kms_tx tx = { 0 };
	const kms_wallet *wallet = bind_check(L, 1, &bind_wallet_type);
	bind_options_check(L, 2, names);
	lua_settop(L, 2);
	tx.chain_id = member_quantity(L, "chain_id");
	tx.nonce = member_quantity(L, "nonce");
	tx.max_priority_fee_per_gas = member_quantity(L, "max_priority_fee_per_gas");
	tx.max_fee_per_gas = member_quantity(L, "max_fee_per_gas");
	tx.gas_limit = member_quantity(L, "gas_limit");
	tx.value = member_quantity(L, "value");
	if (kms_address_parse(tx.to20, member(L, "to")) != KMS_OK)
		luaL_argerror(L, 2, "field 'to' is no address");
	digits = kms_hex_strip(member(L, "data"));
	size_t data_len = digits.len / 2;
	uint8_t *data = lua_newuserdatauv(L, data_len + 1, 0);
	if (digits.len > 2 * (size_t)KMS_TX_MAX_DATA ||
	    kms_hex_decode(kms_out_of(data, data_len), digits) != KMS_OK)
		return luaL_argerror(L, 2, "field 'data' is not hex of at most 64 KiB");
	tx.data = kms_span_of(data, data_len);
	/* Copy to memory that Lua owns, so that C owns nothing when a push throws. */
	size_t max = data_len + MAX_TX_REST, len = 0;
	uint8_t *bytes = lua_newuserdatauv(L, max, 0);
	kms_buf raw = kms_buf_make(KMS_BUF_PLAIN, max);
	kms_status status = kms_tx_sign(hash, &raw, &tx, wallet);
	if (status == KMS_OK) memcpy(bytes, raw.data, len = raw.len);
	kms_buf_free(&raw);
	if (status != KMS_OK) return bind_fail(L, status);
	bind_push_hex(L, bytes, len);
	bind_push_hex(L, hash, sizeof(hash));
	return 2;
}

void bind_add_abi(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{ "abi_call", abi_call },
		{ "abi_selector", abi_selector },
		{ "abi_decode", abi_decode },
		{ "sign_transaction", sign_transaction },
		{ NULL, NULL },
	};
	luaL_setfuncs(L, functions, 0);
}
