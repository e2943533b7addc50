// The driver of the Go client for the table of cases (README.md).
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	novakms "nova-kms/clients/go"
)

type operation struct {
	Do, Path, Context, Key, Prefix, After string
	Length, Limit                         *int
	Value                                 []byte
	TTL                                   int64 `json:"ttl_ms"`
}

type line struct {
	operation
	Operations []operation
	Seed       string
	Nodes      []struct{ URL, Wallet, Pubkey string }
	Timeout    int64  `json:"timeout_ms"`
	AllowV1    bool   `json:"allow_v1"`
	Retry      bool   `json:"retry_writes"`
	RequirePoP bool   `json:"require_pop"`
	Known      string `json:"known_nodes"`
	Chain      *struct {
		RPC      string `json:"rpc_url"`
		Registry string
		KMS      string `json:"kms_registry"`
	}
}

type object = map[string]any

var kinds = []struct {
	kind novakms.Kind
	name string
}{
	{novakms.ErrInvalid, "invalid"}, {novakms.ErrNotFound, "not_found"}, {novakms.ErrRefused, "refused"}, {novakms.ErrUnavailable, "unavailable"},
	{novakms.ErrNoSession, "no_session"}, {novakms.ErrOutcomeUnknown, "outcome_unknown"}, {novakms.ErrProtocol, "protocol"},
}

func failed(err error) object {
	for _, k := range kinds {
		if !errors.Is(err, k.kind) {
			continue
		}
		answer := object{"error": k.name, "message": err.Error()}
		var details *novakms.Error
		if errors.As(err, &details) && details.Status != 0 {
			answer["status"], answer["code"] = details.Status, details.Code
			if details.RetryAfter > 0 {
				answer["retry_after_s"] = int(details.RetryAfter / time.Second)
			}
		}
		return answer
	}
	panic(err)
}

// given is a number that the table has; where zero stands for a default, another one that is as wrong.
func given(number *int) int {
	if number == nil {
		return 0
	}
	if *number == 0 {
		return -1
	}
	return *number
}

func operationOf(o operation) novakms.Operation {
	switch o.Do {
	case "derive":
		return novakms.Derive{Path: o.Path, Context: o.Context, Length: given(o.Length)}
	case "put":
		return novakms.Put{Key: o.Key, Value: o.Value, TTL: time.Duration(o.TTL) * time.Millisecond}
	case "get":
		return novakms.Get{Key: o.Key}
	case "delete":
		return novakms.Delete{Key: o.Key}
	case "list":
		return novakms.List{Prefix: o.Prefix, After: o.After, Limit: given(o.Limit)}
	}
	panic("no such operation: " + o.Do)
}

func shown(result novakms.Result) object {
	switch r := result.(type) {
	case novakms.Derived:
		defer r.Key.Wipe()
		return object{"path": r.Path, "length": r.Key.Len(), "key": append([]byte{}, r.Key.Bytes()...)}
	case novakms.Record:
		defer r.Value.Wipe()
		return object{"key": r.Key, "value": append([]byte{}, r.Value.Bytes()...), "updated_at_ms": r.UpdatedAt.UnixMilli()}
	case novakms.Written:
		return object{"key": r.Key, "updated_at_ms": r.UpdatedAt.UnixMilli()}
	case novakms.Deleted:
		return object{"key": r.Key, "deleted": true}
	case novakms.Page:
		page := object{"keys": r.Keys}
		if r.More {
			page["next"] = r.Next
		}
		return page
	}
	panic("no such result")
}

func outcome(o novakms.Outcome) object {
	if o.Err != nil {
		return failed(o.Err)
	}
	return object{"ok": shown(o.Result)}
}

func open(l line) (*novakms.Client, error) {
	seed, err := hex.DecodeString(l.Seed)
	if err != nil {
		return nil, err
	}
	identity, err := novakms.IdentityFromSeed(seed)
	if err != nil {
		return nil, err
	}
	config := novakms.Config{
		Identity: identity, Timeout: time.Duration(l.Timeout) * time.Millisecond, AllowV1: l.AllowV1, RetryWrites: l.Retry, RequirePoP: l.RequirePoP,
	}
	for _, n := range l.Nodes {
		config.Nodes = append(config.Nodes, novakms.Node{URL: n.URL, Wallet: n.Wallet, Pubkey: n.Pubkey})
	}
	if l.Known != "" {
		if config.KnownNodes, err = novakms.OpenKnownNodes(l.Known); err != nil {
			return nil, err
		}
	}
	if l.Chain != nil {
		chain, err := novakms.NewChain(novakms.ChainConfig{
			RPCURL: l.Chain.RPC, KMSRegistry: l.Chain.KMS, AppRegistry: l.Chain.Registry, Confirmations: novakms.AtHead, AllowPrivate: true,
		})
		if err != nil {
			return nil, err
		}
		config.Source = chain
	}
	return novakms.NewClient(config)
}

func listAll(client *novakms.Client, prefix string) object {
	keys := []string{}
	for key, err := range client.Keys(context.Background(), prefix) {
		if err != nil {
			return failed(err)
		}
		keys = append(keys, key)
	}
	return object{"ok": object{"keys": keys}}
}

func run(client **novakms.Client, l line) object {
	switch l.Do {
	case "open":
		if *client != nil {
			(*client).Close()
		}
		made, err := open(l)
		if err != nil {
			return failed(err)
		}
		*client = made
		return object{"ok": object{}}
	case "list_all":
		return listAll(*client, l.Prefix)
	case "batch":
		var operations []novakms.Operation
		for _, o := range l.Operations {
			operations = append(operations, operationOf(o))
		}
		answers := []object{}
		for _, o := range (*client).Batch(context.Background(), operations...) {
			answers = append(answers, outcome(o))
		}
		return object{"ok": answers}
	}
	return outcome((*client).Batch(context.Background(), operationOf(l.operation))[0])
}

func main() {
	var client *novakms.Client
	const longest = 64 << 20 // of a line, in bytes
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longest)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			panic(err)
		}
		if err := answers.Encode(run(&client, l)); err != nil {
			panic(err)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if client != nil {
		client.Close()
	}
}
