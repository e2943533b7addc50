/* The master secret on its way to a new node. Known answers: sync/test_sync_vectors.c. */
#include "base/testing.h"
#include "material.h"

#include "kms/p384.h"
#include "kms/sealed.h"

#define MASTER "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

TEST(a_sealed_secret_opens_for_its_requester_only)
{
	kms_sealed sealed, again;
	kms_secret *master = hex_secret(MASTER), *opened;
	kms_p384 *requester = hex_p384("1234"), *other = hex_p384("1235");
	CHECK_OK(kms_master_seal(&sealed, master, kms_p384_public(requester)));
	CHECK_OK(kms_master_seal(&again, master, kms_p384_public(requester)));
	CHECK_OK(kms_master_unseal(&opened, &sealed, requester));
	CHECK(kms_secret_equal(opened, master));
	kms_secret_unref(opened);
	/* A fresh key and IV each time. */
	CHECK(memcmp(sealed.ephemeral_point97, again.ephemeral_point97, 97) != 0);
	CHECK(memcmp(sealed.iv12, again.iv12, 12) != 0);
	CHECK(memcmp(sealed.data48, again.data48, 48) != 0);
	opened = master;
	CHECK_STATUS(KMS_ERR_SEALED, kms_master_unseal(&opened, &sealed, other));
	CHECK(!opened);
	kms_secret_unref(master);
	kms_p384_free(requester);
	kms_p384_free(other);
}

TEST(every_changed_bit_is_noticed)
{
	kms_sealed sealed;
	kms_secret *master = hex_secret(MASTER), *opened;
	kms_p384 *requester = hex_p384("1234"), *other = hex_p384("77");
	CHECK_OK(kms_master_seal(&sealed, master, kms_p384_public(requester)));
	for (size_t i = 0; i < sizeof(sealed.data48); i++) {
		sealed.data48[i] ^= 1;
		CHECK_STATUS(KMS_ERR_SEALED, kms_master_unseal(&opened, &sealed, requester));
		sealed.data48[i] ^= 1;
	}
	sealed.iv12[0] ^= 0x80;
	CHECK_STATUS(KMS_ERR_SEALED, kms_master_unseal(&opened, &sealed, requester));
	sealed.iv12[0] ^= 0x80;
	memcpy(sealed.ephemeral_point97, kms_p384_public(other), 97);
	CHECK_STATUS(KMS_ERR_SEALED, kms_master_unseal(&opened, &sealed, requester));
	sealed.ephemeral_point97[96] ^= 1; /* no longer on the curve */
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_master_unseal(&opened, &sealed, requester));
	kms_secret_unref(master);
	kms_p384_free(requester);
	kms_p384_free(other);
}

TEST(misuse_is_refused)
{
	static const kms_sealed zeros;
	static const uint8_t off_curve[97] = { 4 };
	kms_sealed sealed;
	kms_secret *master = hex_secret(MASTER), *half = hex_secret("0011"), *opened;
	kms_p384 *requester = hex_p384("1234");
	memset(&sealed, 0xaa, sizeof(sealed));
	CHECK_STATUS(KMS_ERR_PEER_KEY, kms_master_seal(&sealed, master, off_curve));
	CHECK_MEM(&sealed, &zeros, sizeof(sealed));
	CHECK_STATUS(KMS_ERR_RANGE, kms_master_seal(&sealed, half, kms_p384_public(requester)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_master_seal(NULL, master, kms_p384_public(requester)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_master_seal(&sealed, NULL, kms_p384_public(requester)));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_master_seal(&sealed, master, NULL));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_master_unseal(NULL, &sealed, requester));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_master_unseal(&opened, NULL, requester));
	CHECK_STATUS(KMS_ERR_ARGUMENT, kms_master_unseal(&opened, &sealed, NULL));
	kms_secret_unref(master);
	kms_secret_unref(half);
	kms_p384_free(requester);
}

static void sweep_failures(int *failed_, const kms_secret *master, const kms_p384 *requester)
{
	static const kms_sealed zeros;
	kms_status status = KMS_ERR_MEMORY;
	bool ended = false;
	for (unsigned long n = 1; n < 2000 && !ended; n++) {
		kms_sealed sealed;
		kms_secret *opened = NULL;
		kms_mem_fail_after(n);
		status = kms_master_seal(&sealed, master, kms_p384_public(requester));
		if (status != KMS_OK) CHECK_MEM(&sealed, &zeros, sizeof(sealed));
		if (status == KMS_OK) status = kms_master_unseal(&opened, &sealed, requester);
		ended = sweep_ends(n);
		CHECK(status == KMS_OK || kms_status_category(status) == KMS_CATEGORY_BUSY ||
		      status == KMS_ERR_CRYPTO);
		CHECK((status == KMS_OK) == (opened != NULL));
		kms_secret_unref(opened);
	}
	CHECK(ended && status == KMS_OK);
}

TEST(failing_allocations_leave_nothing)
{
	kms_secret *master = hex_secret(MASTER);
	kms_p384 *requester = hex_p384("1234");
	/* The first round also makes what OpenSSL keeps. */
	CALL(sweep_failures, master, requester);
	size_t used = kms_guarded_used();
	CALL(sweep_failures, master, requester);
	CHECK(kms_guarded_used() == used);
	kms_secret_unref(master);
	kms_p384_free(requester);
}

RUN_TESTS(KMS_GUARDED_MIN_BYTES, T(a_sealed_secret_opens_for_its_requester_only),
	  T(every_changed_bit_is_noticed), T(misuse_is_refused), T(failing_allocations_leave_nothing))
