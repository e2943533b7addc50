// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Cluster} from "./support/Cluster.sol";
import {vm} from "./support/Vm.sol";

/// What holds whatever happens to a cluster. That only eligible wallets set a hash, and never over
/// another, and that only members anchor at times that rise, the cluster checks at each attempt.
contract InvariantsTest {
    Cluster private cluster;

    function setUp() public {
        cluster = new Cluster();
    }

    /// Forge calls the functions of these contracts at random.
    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(cluster);
    }

    function invariant_one_hash_at_a_time() public view {
        vm.assertEq(cluster.KMS().masterSecretHash(), cluster.hash());
    }

    function invariant_the_newest_anchor_is_that_of_the_present_secret() public view {
        bytes32 hash = cluster.hash();
        vm.assertEq(uint256(cluster.KMS().newestSnapshotAnchor().time), cluster.newestTime(hash));
        vm.assertEq(cluster.KMS().newestSnapshotAnchor().member, cluster.newestMember(hash));
        for (uint256 who = 0; who < cluster.WALLETS(); ++who) {
            address wallet = cluster.wallet(who);
            vm.assertEq(uint256(cluster.KMS().snapshotAnchor(wallet).time), cluster.times(hash, wallet));
        }
    }

    function invariant_operators_are_the_active_instances_of_the_kms_app() public view {
        uint256 count;
        for (uint256 who = 0; who < cluster.WALLETS(); ++who) {
            bool active = cluster.isActive(who);
            vm.assertEq(cluster.KMS().isOperator(cluster.wallet(who)), active);
            if (active) ++count;
        }
        vm.assertEq(cluster.KMS().operatorCount(), count);
        vm.assertEq(cluster.REGISTRY().getActiveInstances(cluster.KMS_APP()).length, count);
    }

    function invariant_the_list_holds_nobody_twice_and_nobody_else() public view {
        address[] memory all = cluster.KMS().getOperators();
        vm.assertEq(all.length, cluster.KMS().operatorCount());
        for (uint256 i = 0; i < all.length; ++i) {
            vm.assertTrue(cluster.KMS().isOperator(all[i]));
            vm.assertEq(cluster.KMS().operatorAt(i), all[i]);
            for (uint256 j = 0; j < i; ++j) {
                vm.assertTrue(all[i] != all[j]);
            }
        }
    }

    function invariant_owner_and_app_never_change() public view {
        vm.assertEq(cluster.KMS().OWNER(), address(cluster));
        vm.assertEq(cluster.KMS().kmsAppId(), cluster.KMS_APP());
        vm.assertEq(cluster.KMS().novaAppRegistry(), address(cluster.REGISTRY()));
    }
}
