// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../src/KMSRegistry.sol";
import {IKMSRegistry} from "../src/interfaces/IKMSRegistry.sol";
import {INovaAppRegistry} from "../src/interfaces/INovaAppRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {RawRegistry, SettableRegistry} from "./support/OddRegistries.sol";
import {vm} from "./support/Vm.sol";

/// Who may set the hash of the master secret, and that one hash stands at a time.
contract KMSRegistryHashTest is Fixture {
    address private constant WALLET = address(0x1111);
    uint256 private instanceId;

    function setUp() public override {
        super.setUp();
        instanceId = node(WALLET);
    }

    function test_an_eligible_instance_sets_it() public {
        vm.expectEmit(address(kms));
        emit IKMSRegistry.MasterSecretHashSet(HASH, WALLET);
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
        vm.assertEq(kms.masterSecretHash(), HASH);
    }

    function test_the_first_wins_and_even_the_same_hash_is_refused_after() public {
        node(address(0x2222));
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
        bytes4 refusal = IKMSRegistry.MasterSecretHashAlreadySet.selector;
        setBy(address(0x2222), keccak256("another"), refusal);
        setBy(WALLET, HASH, refusal);
        setBy(STRANGER, HASH, refusal);
        vm.assertEq(kms.masterSecretHash(), HASH);
    }

    function test_after_a_reset_it_is_set_again() public {
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
        kms.resetMasterSecretHash();
        vm.prank(WALLET);
        kms.setMasterSecretHash(keccak256("another"));
        vm.assertEq(kms.masterSecretHash(), keccak256("another"));
    }

    function test_zero_is_no_hash() public {
        setBy(WALLET, 0, IKMSRegistry.NotAuthorizedToSetHash.selector);
    }

    function test_owner_registry_and_strangers_may_not() public {
        refused(address(this));
        refused(address(registry));
        refused(STRANGER);
        refused(address(0));
    }

    function test_a_stopped_instance_may_not() public {
        registry.stopInstance(instanceId);
        refused(WALLET);
    }

    function test_a_failed_instance_may_not() public {
        registry.failInstance(instanceId);
        refused(WALLET);
    }

    function test_an_unverified_instance_may_not_until_it_is_verified() public {
        registry.setZkVerified(instanceId, false);
        refused(WALLET);
        registry.setZkVerified(instanceId, true);
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
    }

    function test_an_instance_of_a_deprecated_version_may_not() public {
        registry.deprecateVersion(appId, versionId);
        refused(WALLET);
    }

    function test_an_instance_of_a_revoked_version_may_not() public {
        registry.revokeVersion(appId, versionId);
        refused(WALLET);
    }

    function test_an_instance_of_another_app_may_not() public {
        uint256 other = createApp(address(0));
        register(other, enroll(other), address(0x3333));
        refused(address(0x3333));
    }

    function test_nobody_may_before_the_app_id_is_set() public {
        kms = new KMSRegistry(address(this), address(registry));
        refused(WALLET);
        SettableRegistry odd = settable();
        INovaAppRegistry.RuntimeInstance memory instance = good();
        instance.appId = 0;
        odd.setInstance(instance);
        kms = new KMSRegistry(address(this), address(odd));
        refused(WALLET);
    }

    function test_each_field_that_the_registry_answers_counts() public {
        SettableRegistry odd = settable();
        INovaAppRegistry.RuntimeInstance memory instance = good();
        instance.id = 0;
        refusedWith(odd, instance);
        instance = good();
        instance.teeWalletAddress = STRANGER;
        refusedWith(odd, instance);
        instance = good();
        instance.appId = appId + 1;
        refusedWith(odd, instance);
        instance = good();
        instance.zkVerified = false;
        refusedWith(odd, instance);
        instance = good();
        instance.status = INovaAppRegistry.InstanceStatus.STOPPED;
        refusedWith(odd, instance);
        instance = good();
        instance.status = INovaAppRegistry.InstanceStatus.FAILED;
        refusedWith(odd, instance);
        instance = good();
        instance.versionId = versionId + 1;
        refusedWith(odd, instance);
        odd.setInstance(good());
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
    }

    function test_an_all_zero_version_is_not_enrolled() public {
        SettableRegistry odd = settable();
        INovaAppRegistry.AppVersion memory none;
        odd.setVersion(none);
        refused(WALLET);
        INovaAppRegistry.RuntimeInstance memory instance = good();
        instance.versionId = 0;
        refusedWith(odd, instance);
    }

    function test_a_registry_that_reverts_counts_as_no() public {
        SettableRegistry odd = settable();
        odd.setReverts(true, false);
        refused(WALLET);
        odd.setReverts(false, true);
        refused(WALLET);
        odd.setReverts(false, false);
        vm.prank(WALLET);
        kms.setMasterSecretHash(HASH);
    }

    function test_a_registry_without_code_counts_as_no() public {
        kms.setNovaAppRegistry(address(0xBEEF));
        refused(WALLET);
    }

    function test_a_malformed_answer_of_the_registry_sets_nothing() public {
        kms.setNovaAppRegistry(address(new RawRegistry("")));
        malformed();
        kms.setNovaAppRegistry(address(new RawRegistry(hex"20")));
        malformed();
        // An offset far outside of the data.
        kms.setNovaAppRegistry(address(new RawRegistry(abi.encode(type(uint256).max))));
        malformed();
        // An instance status that does not exist: offset, six fields, verified, then the status.
        bytes memory answer = abi.encode(good());
        answer[0x20 + 8 * 32 + 31] = 0x03;
        kms.setNovaAppRegistry(address(new RawRegistry(answer)));
        malformed();
    }

    function testFuzz_answers_of_any_bytes_set_nothing(bytes calldata answer) public {
        kms.setNovaAppRegistry(address(new RawRegistry(answer)));
        malformed();
    }

    function testFuzz_nobody_else_may(address caller, bytes32 hash) public {
        vm.assume(caller != WALLET);
        setBy(caller, hash, IKMSRegistry.NotAuthorizedToSetHash.selector);
    }

    function testFuzz_every_hash_but_zero_is_kept(bytes32 hash) public {
        vm.assume(hash != 0);
        vm.prank(WALLET);
        kms.setMasterSecretHash(hash);
        vm.assertEq(kms.masterSecretHash(), hash);
    }

    /// An instance that may set the hash.
    function good() private view returns (INovaAppRegistry.RuntimeInstance memory instance) {
        return registry.getInstance(instanceId);
    }

    /// Makes the contract believe a registry that answers with the good instance and its version.
    function settable() private returns (SettableRegistry odd) {
        odd = new SettableRegistry();
        odd.setInstance(good());
        odd.setVersion(registry.getVersion(appId, versionId));
        kms.setNovaAppRegistry(address(odd));
    }

    function refusedWith(SettableRegistry odd, INovaAppRegistry.RuntimeInstance memory instance) private {
        odd.setInstance(instance);
        refused(WALLET);
    }

    function refused(address caller) private {
        setBy(caller, HASH, IKMSRegistry.NotAuthorizedToSetHash.selector);
        vm.assertEq(kms.masterSecretHash(), bytes32(0));
    }

    function setBy(address caller, bytes32 hash, bytes4 refusal) private {
        vm.prank(caller);
        vm.expectRevert(refusal);
        kms.setMasterSecretHash(hash);
    }

    function malformed() private {
        vm.prank(WALLET);
        vm.expectRevert();
        kms.setMasterSecretHash(HASH);
        vm.assertEq(kms.masterSecretHash(), bytes32(0));
    }
}
