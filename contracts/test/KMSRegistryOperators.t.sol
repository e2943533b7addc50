// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../src/KMSRegistry.sol";
import {IKMSRegistry} from "../src/interfaces/IKMSRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// The list of operators: only the registry writes it, for one application.
contract KMSRegistryOperatorsTest is Fixture {
    function test_adding_lists_and_tells() public {
        vm.expectEmit(address(kms));
        emit IKMSRegistry.OperatorAdded(address(1), appId, 2, 3);
        add(address(1));
        vm.assertTrue(kms.isOperator(address(1)));
        vm.assertEq(kms.operatorCount(), 1);
        vm.assertEq(kms.operatorAt(0), address(1));
    }

    function test_adding_twice_is_adding_once() public {
        add(address(1));
        vm.recordLogs();
        add(address(1));
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(kms.operatorCount(), 1);
    }

    function test_removing_unlists_and_tells() public {
        add(address(1));
        vm.expectEmit(address(kms));
        emit IKMSRegistry.OperatorRemoved(address(1), appId, 2, 3);
        remove(address(1));
        vm.assertFalse(kms.isOperator(address(1)));
        vm.assertEq(kms.operatorCount(), 0);
    }

    function test_removing_who_is_not_listed_does_nothing() public {
        add(address(1));
        vm.recordLogs();
        remove(address(2));
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(kms.operatorCount(), 1);
        vm.assertTrue(kms.isOperator(address(1)));
    }

    function test_removing_first_middle_or_last_keeps_the_others() public {
        for (uint160 gone = 1; gone <= 3; ++gone) {
            for (uint160 i = 1; i <= 3; ++i) {
                add(address(i));
            }
            remove(address(gone));
            vm.assertEq(kms.operatorCount(), 2);
            for (uint160 i = 1; i <= 3; ++i) {
                vm.assertEq(kms.isOperator(address(i)), i != gone);
            }
            vm.assertTrue(kms.operatorAt(0) != kms.operatorAt(1));
            vm.assertTrue(kms.isOperator(kms.operatorAt(0)) && kms.isOperator(kms.operatorAt(1)));
        }
    }

    function test_beyond_the_end_there_is_none() public {
        add(address(1));
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x32));
        kms.operatorAt(1);
    }

    function test_removal_costs_the_same_in_a_long_list() public {
        for (uint160 i = 1; i <= 4; ++i) {
            add(address(i));
        }
        uint256 few = costOfRemoving(address(1));
        for (uint160 i = 10; i <= 500; ++i) {
            add(address(i));
        }
        vm.assertTrue(costOfRemoving(address(2)) <= few + few / 20, "removal grows with the list");
    }

    function testFuzz_only_the_registry_may(address caller, address wallet) public {
        vm.assume(caller != address(registry));
        vm.prank(caller);
        vm.expectRevert(IKMSRegistry.OnlyNovaAppRegistry.selector);
        kms.addOperator(wallet, appId, 2, 3);
        vm.prank(caller);
        vm.expectRevert(IKMSRegistry.OnlyNovaAppRegistry.selector);
        kms.removeOperator(wallet, appId, 2, 3);
    }

    function testFuzz_only_for_the_kms_app(uint256 id) public {
        vm.assume(id != appId);
        add(address(1));
        vm.prank(address(registry));
        vm.expectRevert(IKMSRegistry.AppIdMismatch.selector);
        kms.addOperator(address(2), id, 2, 3);
        vm.prank(address(registry));
        vm.expectRevert(IKMSRegistry.AppIdMismatch.selector);
        kms.removeOperator(address(1), id, 2, 3);
        vm.assertTrue(kms.isOperator(address(1)));
    }

    function test_no_app_counts_before_the_app_id_is_set() public {
        KMSRegistry fresh = new KMSRegistry(address(this), address(registry));
        for (uint256 id = 0; id < 2; ++id) {
            vm.prank(address(registry));
            vm.expectRevert(IKMSRegistry.AppIdMismatch.selector);
            fresh.addOperator(address(1), id, 2, 3);
        }
    }

    /// Random adding and removing of sixteen wallets, against a bitmap.
    function testFuzz_the_list_is_the_set(uint8[] calldata steps) public {
        uint256 expected;
        for (uint256 i = 0; i < steps.length; ++i) {
            uint256 bit = steps[i] & 0x0f;
            address wallet = address(uint160(bit + 1));
            if (steps[i] < 0x80) {
                add(wallet);
                expected |= 1 << bit;
            } else {
                remove(wallet);
                expected &= ~(1 << bit);
            }
        }
        uint256 listed;
        address[] memory all = kms.getOperators();
        for (uint256 i = 0; i < all.length; ++i) {
            uint256 bit = 1 << (uint160(all[i]) - 1);
            vm.assertEq(listed & bit, 0, "listed twice");
            vm.assertEq(kms.operatorAt(i), all[i]);
            listed |= bit;
        }
        vm.assertEq(listed, expected);
        vm.assertEq(kms.operatorCount(), all.length);
    }

    function add(address wallet) private {
        vm.prank(address(registry));
        kms.addOperator(wallet, appId, 2, 3);
    }

    function remove(address wallet) private {
        vm.prank(address(registry));
        kms.removeOperator(wallet, appId, 2, 3);
    }

    function costOfRemoving(address wallet) private returns (uint256) {
        uint256 before = gasleft();
        remove(wallet);
        return before - gasleft();
    }
}
