package novakms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nova-kms/clients/go/internal/nodetest"
	"nova-kms/clients/go/internal/session"
)

const waitFor = time.Minute // for what must happen: an end to tests that hang

// together runs a function in so many goroutines, and waits for them.
func together(count int, work func(int)) {
	var group sync.WaitGroup
	for i := range count {
		group.Add(1)
		go func() {
			defer group.Done()
			work(i)
		}()
	}
	group.Wait()
}

func TestGoroutinesShareOneSessionAndNoNumber(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	together(8, func(int) {
		for range 20 {
			if key, err := client.DeriveKey(ctx, Derive{Path: "p", Length: 5}); err != nil || !key.Equal([]byte("AAAAA")) {
				t.Error(err)
			}
		}
	})
	expectCount(t, node, "/session", 1)
	seqs := node.Seqs()
	for i, seq := range seqs {
		if seq != uint64(i+1) {
			t.Fatalf("number %d is %d", i, seq)
		}
	}
	if len(seqs) != 160 {
		t.Error(len(seqs))
	}
}

// held holds requests to a path until it is let go.
type held struct {
	come, free chan struct{}
}

func hold(then http.HandlerFunc) (held, http.HandlerFunc) {
	h := held{make(chan struct{}, 100), make(chan struct{})}
	return h, func(w http.ResponseWriter, r *http.Request) {
		h.come <- struct{}{}
		select {
		case <-h.free:
		case <-r.Context().Done():
		}
		then(w, r)
	}
}

// askedContext tells when somebody has first asked it for its end: who waits for an opening does that once it knows which one.
type askedContext struct {
	context.Context
	once  *sync.Once
	asked func()
}

func (c askedContext) Done() <-chan struct{} {
	c.once.Do(c.asked)
	return c.Context.Done()
}

func TestGoroutinesShareAnOpeningThatFails(t *testing.T) {
	node := startNode(t)
	h, answer := hold(nodetest.Say(500, "{}"))
	node.Rule(on("/session", answer))
	s := clientOf(t, nil, node).entries[0].sessions
	var waiting sync.WaitGroup
	waiting.Add(8)
	go func() {
		<-h.come
		waiting.Wait()
		close(h.free)
	}()
	together(8, func(int) {
		_, failure := s.ready(askedContext{ctx, &sync.Once{}, waiting.Done})
		if failure == nil || failure.Kind != ErrNoSession {
			t.Error(failure)
		}
	})
	expectCount(t, node, "/session", 1)
}

func TestWhoseContextEndsTakesNoOpeningFromOthers(t *testing.T) {
	node := startNode(t)
	h, answer := hold(nodetest.Say(500, "{}"))
	node.Rule(times(1, "/session", answer))
	client := clientOf(t, nil, node)
	leads, cancel := context.WithCancel(ctx)
	led := make(chan error, 1)
	go func() {
		_, err := client.Derive(leads, "p")
		led <- err
	}()
	<-h.come
	followed := make(chan error, 1)
	go func() {
		_, err := client.Derive(ctx, "p")
		followed <- err
	}()
	// It has come to the place where it waits, or opens by itself later: both end well.
	cancel()
	err := <-led
	if !errors.Is(err, context.Canceled) || expect(t, err, ErrCanceled).Sent {
		t.Error(err)
	}
	if err := <-followed; err != nil {
		t.Error(err)
	}
}

func TestASessionIsOpenedAnewWhereTheNodeHasForgottenIt(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	derive(t, client)
	node.Forget()
	derive(t, client)
	expectCount(t, node, "/session", 2)
	expectCount(t, node, messagePath, 3)
	node.Forget()
	_, err := client.Put(ctx, "k", []byte("v"), 0)
	if e := expect(t, err, ErrOutcomeUnknown); !e.Sent || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
	expectCount(t, node, messagePath, 4)
}

func TestASessionIsNotUsedToItsLastSecond(t *testing.T) {
	node := startNode(t)
	node.Grant(map[string]any{"expires_s": 1000})
	client := clientOf(t, nil, node)
	clock := setClock(client)
	before := 0
	for _, c := range [][2]int{{0, 1}, {220, 1}, {440, 1}, {666, 2}, {891, 2}, {1100, 2}, {1300, 2}, {1500, 2}, {1567, 3}} {
		clock.turn(time.Duration(c[0]-before) * time.Second)
		before = c[0]
		derive(t, client)
		if count := node.Count("/session"); count != c[1] {
			t.Errorf("at %d s: %d openings, not %d", c[0], count, c[1])
		}
	}
}

func TestASessionIsGivenUpWhenTheClientIsClosed(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	derive(t, client)
	if ends := node.Ends(); len(ends) != 0 {
		t.Error(ends)
	}
	client.Close()
	client.Close()
	derive(t, client)
	expectCount(t, node, "/session", 2)
	if ends := node.Ends(); len(ends) != 1 {
		t.Error(ends)
	}
	if left := client.entries[0].givenUp; len(left) != 0 {
		t.Error(left)
	}
}

func TestEightSessionsAtMostAreNamedAtAnOpening(t *testing.T) {
	for _, count := range []int{8, 9} {
		node := startNode(t)
		client := clientOf(t, nil, node)
		s := client.entries[0].sessions
		for i := range count {
			gone := &open{keys: &session.Keys{SID: bytes.Repeat([]byte{byte(i)}, 16)}}
			s.giveUp(gone)
			s.giveUp(gone)
		}
		derive(t, client)
		// The last ones count.
		if ends := node.Ends(); len(ends) != 8 || ends[7] != strings.Repeat(fmt.Sprintf("%02x", count-1), 16) {
			t.Error(ends)
		}
	}
}

func TestALostSessionOfARefusedCallerIsOver(t *testing.T) {
	node := startNode(t)
	node.Result(func(map[string]any) map[string]any {
		return map[string]any{"status": 403, "code": "unauthorized", "message": "no more"}
	})
	client := clientOf(t, nil, node)
	_, err := client.Get(ctx, "k")
	if e := expect(t, err, ErrRefused); e.Status != 403 || e.Code != "unauthorized" || !e.Authentic || errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	node.Result(nil)
	derive(t, client)
	expectCount(t, node, "/session", 2)
	if ends := node.Ends(); len(ends) != 0 {
		t.Error(ends) // it ended there by itself
	}
}

// ---- several nodes -----------------------------------------------------------------------------------------------

func TestANodeInTroubleIsCalledAfterTheOthersForAWhile(t *testing.T) {
	first, second, third := startNode(t), startNode(t), startNode(t)
	client := clientOf(t, nil, first, second, third)
	broken := func(string) http.HandlerFunc { return nodetest.Raw("x\r\n\r\n", false) }
	rests := func() [3]bool {
		return [3]bool{client.entries[0].rests(), client.entries[1].rests(), client.entries[2].rests()}
	}
	first.Rule(broken)
	second.Rule(broken)
	derive(t, client)
	expectCount(t, third, messagePath, 1)
	if rests() != [3]bool{true, true, false} {
		t.Error(rests())
	}
	// Where all are in trouble, those that rest are called, too.
	first.Rule(nil)
	third.Rule(broken)
	derive(t, client)
	expectCount(t, first, messagePath, 1)
	if rests() != [3]bool{false, true, true} {
		t.Error(rests())
	}
}

func TestRestsAreLongerEachTimeUpToAMinute(t *testing.T) {
	client := clientOf(t, nil, startNode(t))
	clock := setClock(client)
	e := client.entries[0]
	for _, seconds := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60} {
		e.trouble()
		if rest := e.restsUntil.Sub(clock.at); rest < seconds*time.Second/2 || rest > seconds*time.Second {
			t.Errorf("%v, not %d s", rest, seconds)
		}
	}
	e.fine()
	if e.rests() {
		t.Error("it still rests")
	}
}

type testSource struct {
	nodes []Node
	err   error
	reads int
}

func (s *testSource) Nodes(context.Context) ([]Node, error) {
	s.reads++
	return s.nodes, s.err
}

func TestNodesComeFromASourceThatIsReadAgain(t *testing.T) {
	first, second := startNode(t), startNode(t)
	source := &testSource{nodes: URLs(first.URL, first.URL)}
	client := clientOf(t, func(c *Config) { c.Source = source })
	clock := setClock(client)
	at := time.Duration(0)
	deriveAt := func(seconds time.Duration) error {
		clock.turn(seconds*time.Second - at)
		at = seconds * time.Second
		_, err := client.Derive(ctx, "p")
		return err
	}
	deriveAt(0)
	deriveAt(50)
	deriveAt(60)
	if source.reads != 1 || len(client.entries) != 1 {
		t.Error(source.reads, client.entries)
	}
	deriveAt(61)
	expectCount(t, first, "/session", 1)
	source.nodes = URLs(second.URL)
	if err := deriveAt(122); err != nil || source.reads != 3 {
		t.Error(err, source.reads)
	}
	expectCount(t, second, "/session", 1)
	expectCount(t, first, "/session", 1)
	// A list that cannot be read again counts for three minutes.
	source.err, source.reads = errors.New("no chain\x1b"), 0
	for _, c := range [][2]int{{183, 1}, {187, 1}, {189, 2}, {300, 3}, {302, 3}} {
		if err := deriveAt(time.Duration(c[0])); err != nil || source.reads != c[1] {
			t.Errorf("at %d s: %d reads, not %d: %v", c[0], source.reads, c[1], err)
		}
	}
	if err := expect(t, deriveAt(303), ErrUnavailable); !strings.Contains(err.Error(), `no chain\x1b`) {
		t.Error(err)
	}
	source.err, source.nodes = nil, nil
	if err := expect(t, deriveAt(304), ErrUnavailable); !strings.Contains(err.Error(), "there is no node") {
		t.Error(err)
	}
	source.nodes = make([]Node, maxNodes+1)
	if err := expect(t, deriveAt(600), ErrInvalid); !strings.Contains(err.Error(), "at most 1000") {
		t.Error(err)
	}
}

type slowSource struct {
	nodes      []Node
	come, free chan struct{}
}

func (s *slowSource) Nodes(ctx context.Context) ([]Node, error) {
	s.come <- struct{}{}
	select {
	case <-s.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.nodes, nil
}

func TestWhoHasAListDoesNotWaitForTheNextOne(t *testing.T) {
	node := startNode(t)
	source := &slowSource{URLs(node.URL), make(chan struct{}, 10), make(chan struct{}, 10)}
	source.free <- struct{}{}
	client := clientOf(t, func(c *Config) { c.Source = source })
	clock := setClock(client)
	derive(t, client)
	<-source.come
	clock.turn(time.Minute + time.Second)
	read := make(chan error)
	go func() {
		_, err := client.Derive(ctx, "p")
		read <- err
	}()
	<-source.come
	clock.turn(10 * time.Second)
	derive(t, client) // while it is read
	source.free <- struct{}{}
	if err := <-read; err != nil {
		t.Error(err)
	}
	// Who has none waits, as long as the context says.
	clock.turn(maxListAge + time.Second)
	go func() {
		_, err := client.Derive(ctx, "p")
		read <- err
	}()
	<-source.come
	limited, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := client.Derive(limited, "p"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	source.free <- struct{}{}
	if err := <-read; err != nil {
		t.Error(err)
	}
	if len(source.come) != 0 {
		t.Error("it was read once more")
	}
}

// watched is a context that says when somebody waits for its end.
type watched struct {
	context.Context
	waits chan<- struct{}
}

func (w watched) Done() <-chan struct{} {
	w.waits <- struct{}{}
	return w.Context.Done()
}

// stuckSource gives no list: it fails when it is freed, or when the context of who reads ends.
type stuckSource struct{ come, free chan struct{} }

func (s *stuckSource) Nodes(ctx context.Context) ([]Node, error) {
	s.come <- struct{}{}
	if own, is := ctx.(watched); is {
		ctx = own.Context
	}
	select {
	case <-s.free:
		return nil, errors.New("no chain")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestThoseWhoWaitForAListShareWhatComesOfTheReading(t *testing.T) {
	const waiting = 4
	for _, firstEnds := range []bool{false, true} {
		source := &stuckSource{make(chan struct{}, 2*waiting), make(chan struct{})}
		client := clientOf(t, func(c *Config) { c.Source = source })
		ended, waits := make(chan error, waiting+1), make(chan struct{}, 3*waiting)
		derive := func(ctx context.Context) {
			_, err := client.Derive(ctx, "p")
			ended <- err
		}
		first, cancel := context.WithCancel(ctx)
		defer cancel()
		go derive(first)
		<-source.come
		for range waiting {
			go derive(watched{ctx, waits})
		}
		for range waiting {
			<-waits
		}
		left := waiting + 1
		if firstEnds { // that says nothing to the others: one of them reads, the rest wait again
			cancel()
			expect(t, <-ended, ErrCanceled)
			<-source.come
			for range waiting - 1 {
				<-waits
			}
			left--
		}
		close(source.free)
		for range left {
			expect(t, <-ended, ErrUnavailable)
		}
		if len(source.come) != 0 {
			t.Fatalf("it was read %d times more", len(source.come))
		}
	}
}

// ---- listings ----------------------------------------------------------------------------------------------------

func TestKeysEndWhereTheCallerEnds(t *testing.T) {
	node := startNode(t)
	client := clientOf(t, nil, node)
	for _, key := range []string{"a1", "a2", "b"} {
		if _, err := client.Put(ctx, key, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	for key, err := range client.Keys(ctx, "a") {
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, key); len(keys) == 1 {
			break
		}
	}
	if !slices.Equal(keys, []string{"a1"}) {
		t.Error(keys)
	}
}

func TestPagesThatDoNotEndAreRefused(t *testing.T) {
	for _, nexts := range [][]string{{"a", "a"}, {"b", "a"}, {""}} {
		node := startNode(t)
		asked := 0
		node.Result(func(map[string]any) map[string]any {
			asked++
			return map[string]any{"status": 200, "app_id": 1, "keys": []string{}, "count": 0, "next": nexts[min(asked, len(nexts))-1]}
		})
		client := clientOf(t, nil, node)
		var last error
		for _, err := range client.Keys(ctx, "") {
			last = err
		}
		expect(t, last, ErrProtocol)
		if asked != len(nexts) {
			t.Errorf("%v: asked %d times", nexts, asked)
		}
	}
}
