package novakms

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"nova-kms/clients/go/internal/nodetest"
)

func busy(wait string) http.HandlerFunc {
	return nodetest.Say(429, `{"code":"rate_limited","message":"later"}`, "Retry-After: "+wait)
}

func TestWaitsAsLongAsItsPatienceGoes(t *testing.T) {
	for _, path := range []string{messagePath, "/session", "/nonce", "/status"} {
		node := startNode(t)
		client := clientOf(t, func(c *Config) { c.Patience = 10 * time.Second }, node)
		clock := setClock(client)
		// A batch of two asks for room first, a single one does not.
		node.Rule(times(2, path, busy("4")))
		for _, o := range client.Batch(ctx, Derive{Path: "p"}, Derive{Path: "p"}) {
			if o.Err != nil {
				t.Errorf("%s: %v", path, o.Err)
			}
		}
		if !slices.Equal(clock.pauses, []time.Duration{4 * time.Second, 4 * time.Second}) {
			t.Errorf("%s: %v", path, clock.pauses)
		}
		if path == "/status" { // asked once
			continue
		}
		client.Close()
		clock.pauses = nil
		node.Rule(times(3, path, busy("4")))
		_, err := client.Derive(ctx, "p")
		if e := expect(t, err, ErrUnavailable); e.Status != 429 || e.Code != "rate_limited" || e.RetryAfter != 4*time.Second || len(clock.pauses) != 2 {
			t.Errorf("%s: %v, %v", path, err, clock.pauses)
		}
	}
}

func TestHasNoPatienceUnlessItIsToldSo(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	clock := setClock(client)
	node.Rule(times(1, messagePath, busy("1")))
	_, err := client.Derive(ctx, "p")
	expect(t, err, ErrUnavailable)
	if len(clock.pauses) != 0 {
		t.Error(clock.pauses)
	}
}

func TestAContextEndsPatience(t *testing.T) {
	node := startNode(t)
	node.Rule(on(messagePath, busy("3600")))
	client := clientOf(t, func(c *Config) { c.Patience = 2 * time.Hour }, node)
	limited, cancel := context.WithCancel(ctx)
	time.AfterFunc(100*time.Millisecond, cancel)
	begun := time.Now()
	_, err := client.Derive(limited, "p")
	expect(t, err, ErrCanceled)
	if took := time.Since(begun); took > waitFor {
		t.Error(took)
	}
}

func TestABusyNodesWriteIsSentAgainWhereItWasNotDone(t *testing.T) {
	for _, c := range []struct {
		status, sends int
		retry         bool
	}{{429, 2, false}, {503, 1, false}, {503, 2, true}} {
		node := startNode(t)
		sends := 0
		node.Result(func(map[string]any) map[string]any {
			if sends++; sends > 1 {
				return nil
			}
			return map[string]any{"status": c.status, "code": "service_unavailable", "message": "x", "retry_after_s": 2}
		})
		client := clientOf(t, func(config *Config) { config.Patience, config.RetryWrites = time.Minute, c.retry }, node)
		clock := setClock(client)
		_, err := client.Put(ctx, "k", nil, 0)
		if (err == nil) != (c.sends == 2) || sends != c.sends || len(clock.pauses) != c.sends-1 {
			t.Errorf("%d: sent %d times, %v, %v", c.status, sends, clock.pauses, err)
		}
	}
}

func TestWhatWouldComeBehindALaterWriteOfItsKeyIsNotSentAgain(t *testing.T) {
	node := startNode(t)
	var asked []string
	node.Result(func(members map[string]any) map[string]any {
		asked = append(asked, members["op"].(string)+" "+members["key"].(string))
		switch len(asked) {
		case 1, 2, 4, 5: // the first put and the get of a, both of b
			return map[string]any{"status": 429, "code": "rate_limited", "message": "later", "retry_after_s": 1}
		}
		return nil
	})
	client := clientOf(t, func(c *Config) { c.Patience = time.Minute }, node)
	setClock(client)
	put := func(key string) Operation { return Put{Key: key, Value: []byte("v")} }
	for i, o := range client.Batch(ctx, put("a"), Get{"a"}, put("a"), put("b"), Delete{"b"}) {
		if (o.Err == nil) != (i >= 2) {
			t.Error(i, o.Err)
		}
	}
	if len(asked) != 7 || asked[5] != "put b" || asked[6] != "delete b" {
		t.Error(asked)
	}
}

func TestAWriteThatWasNotSentIsSentLater(t *testing.T) {
	node := startNode(t)
	node.Rule(times(1, "/session", nodetest.Say(503, "{}")))
	client := clientOf(t, func(c *Config) { c.Patience = time.Minute }, node)
	clock := setClock(client)
	if _, err := client.Put(ctx, "k", nil, 0); err != nil || len(clock.pauses) != 1 {
		t.Error(clock.pauses, err)
	}
}

func TestReadsThatHadNoRoomAreAskedForAgain(t *testing.T) {
	node := startNode(t)
	rooms := 1
	node.Result(func(asked map[string]any) map[string]any {
		if asked["op"] == "get" && rooms == 0 {
			return map[string]any{"status": 413, "code": "payload_too_large", "message": "no room"}
		}
		rooms--
		return nil
	})
	client := clientOf(t, nil, node)
	outcomes := client.Batch(ctx, Derive{Path: "p"}, Get{"a"}, Get{"b"})
	if outcomes[0].Err != nil || expect(t, outcomes[1].Err, ErrRefused).Status != 413 {
		t.Error(outcomes)
	}
	expectCount(t, node, messagePath, 2) // the second had no result among its own
}

func TestPausesLongerEachTimeBeforeTheOnlyNodeIsCalledAgain(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	clock := setClock(client)
	node.Rule(on(messagePath, nodetest.Raw("x\r\n\r\n", false)))
	_, err := client.Derive(ctx, "p")
	expect(t, err, ErrProtocol)
	if len(clock.pauses) != 3 {
		t.Fatal(clock.pauses)
	}
	for i, pause := range clock.pauses {
		if longest := firstPause << (i + 1); pause < longest/2 || pause > longest {
			t.Errorf("pause %d: %v", i, pause)
		}
	}
	expectCount(t, node, messagePath, 4)
}

// ---- contexts ----------------------------------------------------------------------------------------------------

func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, o := range client.Batch(ended, Derive{Path: "p"}, Put{Key: "k"}) {
		if e := expect(t, o.Err, ErrCanceled); e.Sent || !errors.Is(o.Err, context.Canceled) {
			t.Error(o.Err)
		}
	}
	expectCount(t, node, "/status", 0)
}

func TestAContextThatEndsWhileANodeThinks(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	derive(t, client)
	h, answer := hold(nodetest.Say(500, ""))
	defer close(h.free)
	node.Rule(on(messagePath, answer))
	for _, c := range []struct {
		operation Operation
		kind      Kind
	}{{Derive{Path: "p"}, ErrCanceled}, {Put{Key: "k"}, ErrOutcomeUnknown}, {Delete{Key: "k"}, ErrOutcomeUnknown}} {
		limited, cancel := context.WithCancel(ctx)
		go func() {
			<-h.come
			cancel()
		}()
		err := client.Batch(limited, c.operation)[0].Err
		if e := expect(t, err, c.kind); !e.Sent || !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
		cancel()
	}
	limited, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := client.Derive(limited, "p"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
}

func TestATimeoutIsOfEachRequestAsAWhole(t *testing.T) {
	node := startNode(t)
	// A byte at a time: each comes soon, all of them never.
	node.Rule(on(messagePath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		for r.Context().Err() == nil {
			fmt.Fprint(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	client := clientOf(t, func(c *Config) { c.Timeout = 3 * time.Second }, node)
	_, err := client.Derive(ctx, "p")
	if e := expect(t, err, ErrTimeout); !e.Sent || !errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	expectCount(t, node, messagePath, 1) // the only node is not asked again after that
}
