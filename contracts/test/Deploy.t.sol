// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Deploy} from "../script/Deploy.s.sol";
import {KMSRegistry} from "../src/KMSRegistry.sol";
import {NovaAppRegistry} from "../src/NovaAppRegistry.sol";
import {vm} from "./support/Vm.sol";

/// What the deployment script leaves behind is ready for nodes.
contract DeployTest {
    function test_a_node_of_the_deployed_cluster_sets_the_hash() public {
        (NovaAppRegistry registry, KMSRegistry kms, uint256 appId) = new Deploy().run();
        vm.assertEq(kms.kmsAppId(), appId);
        vm.assertEq(kms.novaAppRegistry(), address(registry));
        vm.assertEq(kms.OWNER(), registry.OWNER());
        vm.assertEq(registry.getApp(appId).dappContract, address(kms));
        vm.prank(kms.OWNER());
        uint256 version = registry.enrollVersion(appId, "v1", 0, "", "", "", "");
        vm.prank(kms.OWNER());
        registry.registerInstance(appId, version, address(0), "", "", address(1), true);
        vm.assertTrue(kms.isOperator(address(1)));
        vm.prank(address(1));
        kms.setMasterSecretHash(keccak256("secret"));
        vm.assertEq(kms.masterSecretHash(), keccak256("secret"));
    }
}
