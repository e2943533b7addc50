// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../src/KMSRegistry.sol";
import {IKMSRegistry} from "../src/interfaces/IKMSRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// Construction, and what only the owner may do.
contract KMSRegistryTest is Fixture {
    KMSRegistry private fresh;

    function setUp() public override {
        super.setUp();
        fresh = new KMSRegistry(address(this), address(registry));
    }

    function test_starts_with_owner_and_registry_and_nothing_else() public view {
        vm.assertEq(fresh.OWNER(), address(this));
        vm.assertEq(fresh.novaAppRegistry(), address(registry));
        vm.assertEq(fresh.kmsAppId(), 0);
        vm.assertEq(fresh.masterSecretHash(), bytes32(0));
        vm.assertEq(fresh.operatorCount(), 0);
        vm.assertEq(fresh.getOperators().length, 0);
    }

    function test_the_owner_is_the_one_named_not_the_deployer() public {
        vm.assertEq(new KMSRegistry(STRANGER, address(registry)).OWNER(), STRANGER);
    }

    function test_construction_refuses_a_zero_registry() public {
        vm.expectRevert(IKMSRegistry.InvalidRegistryAddress.selector);
        new KMSRegistry(address(this), address(0));
    }

    function test_construction_tells_of_its_registry() public {
        vm.recordLogs();
        KMSRegistry made = new KMSRegistry(address(this), address(registry));
        bytes32[] memory topics = vm.getRecordedLogs()[0].topics;
        vm.assertEq(topics[0], IKMSRegistry.NovaAppRegistrySet.selector);
        vm.assertEq(address(uint160(uint256(topics[1]))), made.novaAppRegistry());
    }

    function test_owner_points_to_another_registry() public {
        vm.expectEmit(address(fresh));
        emit IKMSRegistry.NovaAppRegistrySet(address(0xBEEF));
        fresh.setNovaAppRegistry(address(0xBEEF));
        vm.assertEq(fresh.novaAppRegistry(), address(0xBEEF));
    }

    function test_another_registry_cannot_be_zero() public {
        vm.expectRevert(IKMSRegistry.InvalidRegistryAddress.selector);
        fresh.setNovaAppRegistry(address(0));
    }

    function test_a_replaced_registry_has_no_say_and_the_new_one_has() public {
        node(address(1));
        kms.setNovaAppRegistry(address(0xBEEF));
        vm.prank(address(registry));
        vm.expectRevert(IKMSRegistry.OnlyNovaAppRegistry.selector);
        kms.removeOperator(address(1), appId, versionId, 1);
        vm.assertTrue(kms.isOperator(address(1)));
        vm.prank(address(0xBEEF));
        kms.removeOperator(address(1), appId, versionId, 1);
        vm.assertFalse(kms.isOperator(address(1)));
    }

    function test_app_id_is_set_once() public {
        vm.expectEmit(address(fresh));
        emit IKMSRegistry.KmsAppIdSet(49);
        fresh.setKmsAppId(49);
        vm.assertEq(fresh.kmsAppId(), 49);
        vm.expectRevert(IKMSRegistry.AppIdAlreadySet.selector);
        fresh.setKmsAppId(50);
        vm.expectRevert(IKMSRegistry.AppIdAlreadySet.selector);
        fresh.setKmsAppId(49);
        vm.assertEq(fresh.kmsAppId(), 49);
    }

    function test_app_id_cannot_be_zero_and_can_be_set_after_that() public {
        vm.expectRevert(IKMSRegistry.AppIdMismatch.selector);
        fresh.setKmsAppId(0);
        fresh.setKmsAppId(type(uint256).max);
        vm.assertEq(fresh.kmsAppId(), type(uint256).max);
    }

    function test_reset_clears_the_hash() public {
        node(address(1));
        vm.prank(address(1));
        kms.setMasterSecretHash(HASH);
        vm.expectEmit(address(kms));
        emit IKMSRegistry.MasterSecretHashReset(address(this));
        kms.resetMasterSecretHash();
        vm.assertEq(kms.masterSecretHash(), bytes32(0));
    }

    function testFuzz_only_the_owner_may_do_what_the_owner_may(address caller, uint256 id, address other) public {
        vm.assume(caller != address(this));
        vm.prank(caller);
        vm.expectRevert(IKMSRegistry.NotOwner.selector);
        fresh.setNovaAppRegistry(other);
        vm.prank(caller);
        vm.expectRevert(IKMSRegistry.NotOwner.selector);
        fresh.setKmsAppId(id);
        vm.prank(caller);
        vm.expectRevert(IKMSRegistry.NotOwner.selector);
        fresh.resetMasterSecretHash();
    }

    function test_it_takes_no_ether_and_knows_no_other_call() public {
        vm.deal(address(this), 1);
        (bool ok,) = address(fresh).call{value: 1}("");
        vm.assertFalse(ok);
        (ok,) = address(fresh).call(abi.encodeWithSignature("transferOwnership(address)", STRANGER));
        vm.assertFalse(ok);
    }
}
