package novakms

import (
	"fmt"
	"time"
	"unicode/utf8"

	"nova-kms/clients/go/internal/codec"
)

// Limits of what an operation may have. A node may be configured to allow less.
const (
	MaxNameBytes     = 65536    // of a path, context, key or prefix
	MaxDerivedBytes  = 1024     // of a derived key
	MaxValueBytes    = 16 << 20 // of a value
	MaxPageKeys      = 10000    // of a page
	DefaultKeyLength = 32       // bytes of a derived key

	maxNumber = 1<<63 - 1 // of a time, a count or a page, as a node may say it
)

// Operation is what a Client can do: Derive, Put, Get, Delete or List.
type Operation interface {
	fmt.Formatter
	// check returns what is wrong with the operation.
	check() *Error
	// members are those of the inner request.
	members() codec.Members
	// read makes a result of the inner reply's members, and a Malformed of others.
	read(reply codec.Object) (Result, error)
	writes() bool
	// record is the key of the record that it is about, "" where it is about none.
	record() string
}

// Result is what comes of an Operation: Derived, Written, Record, Deleted or Page.
type Result interface {
	fmt.Formatter
	result()
}

func checkText(what, text string, mayBeEmpty bool) *Error {
	switch {
	case text == "" && !mayBeEmpty:
		return invalid("%s is empty: it has 1 to %d bytes of UTF-8", what, MaxNameBytes)
	case len(text) > MaxNameBytes:
		return invalid("%s has %d bytes: at most %d are allowed", what, len(text), MaxNameBytes)
	case !utf8.ValidString(text):
		return invalid("%s is not UTF-8", what)
	}
	return nil
}

// ---- derivations ------------------------------------------------------------------------------------------------

// Derive derives a key from a path, and a context where there is one.
type Derive struct {
	Path    string
	Context string
	// Length is of the key: 1 to 1024 bytes; 0 stands for 32.
	Length int
}

// Derived is a derived key, the same on every node. Wipe it after use.
type Derived struct {
	AppID uint64
	Path  string
	Key   *Secret
}

func (o Derive) length() int {
	if o.Length == 0 {
		return DefaultKeyLength
	}
	return o.Length
}

func (o Derive) check() *Error {
	if wrong := checkText("the path", o.Path, false); wrong != nil {
		return wrong
	}
	if wrong := checkText("the context", o.Context, true); wrong != nil {
		return wrong
	}
	if o.Length < 0 || o.Length > MaxDerivedBytes {
		return invalid("the length is %d: 1 to %d are allowed, and 0 for %d", o.Length, MaxDerivedBytes, DefaultKeyLength)
	}
	return nil
}

func (o Derive) members() codec.Members {
	inner := codec.Members{"op": "derive", "path": o.Path, "length": int64(o.length())}
	if o.Context != "" {
		inner["context"] = o.Context
	}
	return inner
}

func (o Derive) read(reply codec.Object) (Result, error) {
	if err := exactly(reply, "app_id", "key", "length", "path"); err != nil {
		return nil, err
	}
	appID, err := named(reply, "path", o.Path)
	if err != nil {
		return nil, err
	}
	key, err := secretOf(reply, "key")
	if err != nil {
		return nil, err
	}
	if length, ok := reply.Uint64("length", MaxDerivedBytes); !ok || int(length) != o.length() || key.Len() != o.length() {
		key.Wipe()
		return nil, codec.Malformed("a key of another length")
	}
	return Derived{appID, o.Path, key}, nil
}

func (o Derive) writes() bool { return false }

func (o Derive) record() string { return "" }

// ---- records -----------------------------------------------------------------------------------------------------

// Put stores a value under a key.
type Put struct {
	Key string
	// Value has up to 1 MiB, unless the node is configured otherwise. It is read while the call runs, and not kept.
	Value []byte
	// TTL is how long the record lives, in whole milliseconds, at most ten years; 0: for ever.
	TTL time.Duration
}

// Written is what comes of a Put.
type Written struct {
	AppID uint64
	Key   string
	// UpdatedAt is by the node's clock.
	UpdatedAt time.Time
	// Copies is how many nodes hold the record; 0 where the node does not say.
	Copies int
}

func (o Put) check() *Error {
	if wrong := checkText("the key", o.Key, false); wrong != nil {
		return wrong
	}
	if len(o.Value) > MaxValueBytes {
		return invalid("the value has %d bytes: at most %d are allowed", len(o.Value), MaxValueBytes)
	}
	if o.TTL < 0 || o.TTL%time.Millisecond != 0 {
		return invalid("the TTL is %v: whole milliseconds are allowed, and 0 for a record that does not expire", o.TTL)
	}
	return nil
}

func (o Put) members() codec.Members {
	inner := codec.Members{"op": "put", "key": o.Key, "value": o.Value}
	if o.TTL > 0 {
		inner["ttl_ms"] = o.TTL.Milliseconds()
	}
	return inner
}

func (o Put) read(reply codec.Object) (Result, error) {
	copies, err := copiesOf(reply, "app_id", "key", "updated_at_ms")
	if err != nil {
		return nil, err
	}
	appID, err := named(reply, "key", o.Key)
	if err != nil {
		return nil, err
	}
	updatedAt, err := timeOf(reply)
	return Written{appID, o.Key, updatedAt, copies}, err
}

func (o Put) writes() bool { return true }

func (o Put) record() string { return o.Key }

// Get reads a record.
type Get struct{ Key string }

// Record is a record. Wipe its value after use.
type Record struct {
	AppID uint64
	Key   string
	Value *Secret
	// UpdatedAt is by the clock of the node that wrote it.
	UpdatedAt time.Time
}

func (o Get) check() *Error { return checkText("the key", o.Key, false) }

func (o Get) members() codec.Members { return codec.Members{"op": "get", "key": o.Key} }

func (o Get) read(reply codec.Object) (Result, error) {
	if err := exactly(reply, "app_id", "key", "updated_at_ms", "value"); err != nil {
		return nil, err
	}
	appID, err := named(reply, "key", o.Key)
	if err != nil {
		return nil, err
	}
	updatedAt, err := timeOf(reply)
	if err != nil {
		return nil, err
	}
	value, err := secretOf(reply, "value")
	return Record{appID, o.Key, value, updatedAt}, err
}

func (o Get) writes() bool { return false }

func (o Get) record() string { return o.Key }

// Delete deletes a record.
type Delete struct{ Key string }

// Deleted is what comes of a Delete.
type Deleted struct {
	AppID uint64
	Key   string
	// Copies is how many nodes hold the deletion; 0 where the node does not say.
	Copies int
}

func (o Delete) check() *Error { return checkText("the key", o.Key, false) }

func (o Delete) members() codec.Members { return codec.Members{"op": "delete", "key": o.Key} }

func (o Delete) read(reply codec.Object) (Result, error) {
	copies, err := copiesOf(reply, "app_id", "deleted", "key")
	if err != nil {
		return nil, err
	}
	if deleted, _ := reply["deleted"].(bool); !deleted {
		return nil, codec.Malformed("deleted is not true")
	}
	appID, err := named(reply, "key", o.Key)
	return Deleted{appID, o.Key, copies}, err
}

func (o Delete) writes() bool { return true }

func (o Delete) record() string { return o.Key }

// ---- listings ----------------------------------------------------------------------------------------------------

// List reads one page of the keys of records, in the order of their bytes. One without any member reads all keys at once.
type List struct {
	// Prefix is what they begin with.
	Prefix string
	// After is a key that they are behind.
	After string
	// Limit is how many there are at most: 1 to 10 000; 0 leaves it to the node.
	Limit int
}

// Page is one page of keys.
type Page struct {
	AppID uint64
	Keys  []string
	// Next is the After of the next page; More says whether there is one.
	Next string
	More bool
}

func (o List) check() *Error {
	if wrong := checkText("the prefix", o.Prefix, true); wrong != nil {
		return wrong
	}
	if wrong := checkText("after", o.After, true); wrong != nil {
		return wrong
	}
	if o.Limit < 0 || o.Limit > MaxPageKeys {
		return invalid("the limit is %d: 1 to %d are allowed, and 0 to leave it to the node", o.Limit, MaxPageKeys)
	}
	return nil
}

func (o List) members() codec.Members {
	inner := codec.Members{"op": "list"}
	if o.Prefix != "" {
		inner["prefix"] = o.Prefix
	}
	if o.After != "" {
		inner["after"] = o.After
	}
	if o.Limit != 0 {
		inner["limit"] = int64(o.Limit)
	}
	return inner
}

func (o List) read(reply codec.Object) (Result, error) {
	wanted := []string{"app_id", "count", "keys"}
	next, more := reply["next"]
	if more {
		wanted = append(wanted, "next")
	}
	if err := exactly(reply, wanted...); err != nil {
		return nil, err
	}
	appID, hasID := reply.Uint64("app_id", 1<<64-1)
	list, isList := reply["keys"].([]any)
	count, hasCount := reply.Uint64("count", maxNumber)
	if !hasID || !isList || !hasCount || count != uint64(len(list)) {
		return nil, codec.Malformed("another number of keys")
	}
	page := Page{AppID: appID, Keys: make([]string, len(list)), More: more}
	for i, item := range list {
		key, ok := item.(codec.Text)
		if !ok {
			return nil, codec.Malformed("a key is not a text")
		}
		page.Keys[i] = string(key)
	}
	if more {
		after, ok := next.(codec.Text)
		if !ok {
			return nil, codec.Malformed("next is not a text")
		}
		page.Next = string(after)
	}
	return page, nil
}

func (o List) writes() bool { return false }

func (o List) record() string { return "" }
