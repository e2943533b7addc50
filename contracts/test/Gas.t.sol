// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// What the calls cost that nodes and the registry make: compared with snapshots/ by each run.
contract GasTest is Fixture {
    function test_gas_of_the_hash() public {
        node(address(1));
        vm.prank(address(1));
        kms.setMasterSecretHash(HASH);
        vm.snapshotGasLastCall("KMSRegistry", "setMasterSecretHash");
        kms.resetMasterSecretHash();
        vm.snapshotGasLastCall("KMSRegistry", "resetMasterSecretHash");
    }

    function test_gas_of_anchors() public {
        vm.warp(1_700_000_000);
        node(address(1));
        node(address(2));
        vm.prank(address(1));
        kms.setMasterSecretHash(HASH);
        vm.prank(address(1));
        kms.anchorSnapshot(HASH, 1_700_000_000);
        vm.snapshotGasLastCall("KMSRegistry", "anchorSnapshot, the first");
        vm.prank(address(2));
        kms.anchorSnapshot(HASH, 1_700_000_001);
        vm.snapshotGasLastCall("KMSRegistry", "anchorSnapshot, a member's first");
        vm.prank(address(2));
        kms.anchorSnapshot(keccak256("another"), 1_700_000_002);
        vm.snapshotGasLastCall("KMSRegistry", "anchorSnapshot");
        kms.snapshotAnchor(address(2));
        vm.snapshotGasLastCall("KMSRegistry", "snapshotAnchor");
        kms.newestSnapshotAnchor();
        vm.snapshotGasLastCall("KMSRegistry", "newestSnapshotAnchor");
    }

    function test_gas_of_operators() public {
        vm.prank(address(registry));
        kms.addOperator(address(1), appId, versionId, 1);
        vm.snapshotGasLastCall("KMSRegistry", "addOperator, the first");
        vm.prank(address(registry));
        kms.addOperator(address(2), appId, versionId, 2);
        vm.snapshotGasLastCall("KMSRegistry", "addOperator");
        vm.prank(address(registry));
        kms.removeOperator(address(1), appId, versionId, 1);
        vm.snapshotGasLastCall("KMSRegistry", "removeOperator");
        kms.isOperator(address(2));
        vm.snapshotGasLastCall("KMSRegistry", "isOperator");
    }

    function test_gas_of_the_local_registry() public {
        uint256 id = node(address(1));
        vm.snapshotGasLastCall("NovaAppRegistry", "registerInstance");
        registry.getInstanceByWallet(address(1));
        vm.snapshotGasLastCall("NovaAppRegistry", "getInstanceByWallet");
        registry.getActiveInstances(appId);
        vm.snapshotGasLastCall("NovaAppRegistry", "getActiveInstances, one");
        registry.stopInstance(id);
        vm.snapshotGasLastCall("NovaAppRegistry", "stopInstance");
    }
}
