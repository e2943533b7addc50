package novakms_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	novakms "nova-kms/clients/go"
	"nova-kms/clients/go/internal/nodetest"
)

// setUp stands for what an application has: its identity, from IdentityFromFile, and the URL of a node.
func setUp() (identity *novakms.Identity, url string, stop func()) {
	identity, err := novakms.IdentityFromSeed(make([]byte, 32))
	if err != nil {
		log.Fatal(err)
	}
	node := nodetest.Start(identity.Pubkey())
	return identity, node.URL, node.Close
}

func Example() {
	identity, url, stop := setUp()
	defer stop()
	kms, err := novakms.NewClient(novakms.Config{Identity: identity, Nodes: novakms.URLs(url)})
	if err != nil {
		log.Fatal(err)
	}
	defer kms.Close()
	ctx := context.Background()

	key, err := kms.Derive(ctx, "wallet/eth")
	if err != nil {
		log.Fatal(err)
	}
	defer key.Wipe()
	fmt.Println(key) // its length alone

	if _, err := kms.Put(ctx, "greeting", []byte("hello"), time.Minute); err != nil {
		log.Fatal(err)
	}
	record, err := kms.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	defer record.Value.Wipe()
	fmt.Printf("%s\n", record.Value.Bytes())
	// Output:
	// Secret of 32 bytes
	// hello
}

func ExampleClient_Batch() {
	identity, url, stop := setUp()
	defer stop()
	kms, err := novakms.NewClient(novakms.Config{Identity: identity, Nodes: novakms.URLs(url)})
	if err != nil {
		log.Fatal(err)
	}
	defer kms.Close()

	outcomes := kms.Batch(context.Background(),
		novakms.Put{Key: "a", Value: []byte("1")}, novakms.Get{Key: "a"}, novakms.Get{Key: "b"}, novakms.Derive{Path: "p", Length: 16})
	for _, outcome := range outcomes {
		switch result := outcome.Result.(type) {
		case novakms.Record:
			fmt.Printf("a is %s\n", result.Value.Bytes())
		case novakms.Derived:
			fmt.Println(result.Key)
		case nil:
			fmt.Println("not found:", errors.Is(outcome.Err, novakms.ErrNotFound))
		}
	}
	// Output:
	// a is 1
	// not found: true
	// Secret of 16 bytes
}

func ExampleClient_Keys() {
	identity, url, stop := setUp()
	defer stop()
	kms, err := novakms.NewClient(novakms.Config{Identity: identity, Nodes: novakms.URLs(url)})
	if err != nil {
		log.Fatal(err)
	}
	defer kms.Close()
	ctx := context.Background()
	for _, key := range []string{"config/b", "config/a", "other"} {
		if _, err := kms.Put(ctx, key, nil, 0); err != nil {
			log.Fatal(err)
		}
	}

	for key, err := range kms.Keys(ctx, "config/") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(key)
	}
	// Output:
	// config/a
	// config/b
}

func ExampleError() {
	identity, url, stop := setUp()
	defer stop()
	kms, err := novakms.NewClient(novakms.Config{Identity: identity, Nodes: novakms.URLs(url)})
	if err != nil {
		log.Fatal(err)
	}
	defer kms.Close()

	_, err = kms.Get(context.Background(), "nothing")
	var details *novakms.Error
	if errors.As(err, &details) {
		fmt.Println(details.Kind == novakms.ErrNotFound, details.Status, details.Code, details.Authentic)
	}
	// Output: true 404 not_found true
}
