// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NovaAppRegistry} from "../src/NovaAppRegistry.sol";
import {INovaAppRegistry} from "../src/interfaces/INovaAppRegistry.sol";
import {Fixture} from "./support/Fixture.sol";
import {vm} from "./support/Vm.sol";

/// Applications and versions of the local registry.
contract NovaAppRegistryTest is Fixture {
    function test_an_app_keeps_what_it_was_created_with() public {
        vm.warp(1_700_000_000);
        uint256 id = registry.appCount() + 1;
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.AppCreated(id, address(0xA11CE), address(0xDA));
        vm.assertEq(createApp(address(0xDA)), id);
        INovaAppRegistry.App memory app = registry.getApp(id);
        vm.assertEq(app.id, id);
        vm.assertEq(app.owner, address(0xA11CE));
        vm.assertEq(app.teeArch, "nitro");
        vm.assertEq(app.dappContract, address(0xDA));
        vm.assertEq(app.metadataUri, "ipfs://app");
        vm.assertEq(app.latestVersionId, 0);
        vm.assertEq(app.createdAt, 1_700_000_000);
        vm.assertTrue(app.status == INovaAppRegistry.AppStatus.ACTIVE);
        vm.assertEq(app.appWallet, address(0xCAFE));
    }

    function test_ids_of_apps_start_at_one() public {
        NovaAppRegistry fresh = new NovaAppRegistry(address(this));
        vm.assertEq(fresh.createApp(address(0), 0, address(0), "", address(0)), 1);
        vm.assertEq(fresh.createApp(address(0), 0, address(0), "", address(0)), 2);
        vm.assertEq(fresh.appCount(), 2);
    }

    function test_app_status_is_set() public {
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.AppStatusSet(appId, INovaAppRegistry.AppStatus.INACTIVE);
        registry.setAppStatus(appId, INovaAppRegistry.AppStatus.INACTIVE);
        vm.assertTrue(registry.getApp(appId).status == INovaAppRegistry.AppStatus.INACTIVE);
        registry.setAppStatus(appId, INovaAppRegistry.AppStatus.REVOKED);
        vm.assertTrue(registry.getApp(appId).status == INovaAppRegistry.AppStatus.REVOKED);
        registry.setAppStatus(appId, INovaAppRegistry.AppStatus.ACTIVE);
        vm.assertTrue(registry.getApp(appId).status == INovaAppRegistry.AppStatus.ACTIVE);
    }

    function test_a_version_keeps_what_it_was_enrolled_with() public {
        vm.warp(1_700_000_000);
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.VersionEnrolled(appId, 2, keccak256("image"));
        vm.assertEq(enroll(appId), 2);
        INovaAppRegistry.AppVersion memory version = registry.getVersion(appId, 2);
        vm.assertEq(version.id, 2);
        vm.assertEq(version.versionName, "v1");
        vm.assertEq(version.codeMeasurement, keccak256("image"));
        vm.assertEq(version.imageUri, "ipfs://image");
        vm.assertEq(version.auditUrl, "ipfs://audit");
        vm.assertEq(version.auditHash, "sha256:1");
        vm.assertEq(version.githubRunId, "7");
        vm.assertTrue(version.status == INovaAppRegistry.VersionStatus.ENROLLED);
        vm.assertEq(version.enrolledAt, 1_700_000_000);
        vm.assertEq(version.enrolledBy, address(this));
        vm.assertEq(registry.getApp(appId).latestVersionId, 2);
    }

    function test_ids_of_versions_start_at_one_in_each_app() public {
        vm.assertEq(enroll(createApp(address(0))), 1);
    }

    function test_an_enrolled_version_is_deprecated_once() public {
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.VersionStatusSet(appId, versionId, INovaAppRegistry.VersionStatus.DEPRECATED);
        registry.deprecateVersion(appId, versionId);
        vm.assertTrue(registry.getVersion(appId, versionId).status == INovaAppRegistry.VersionStatus.DEPRECATED);
        vm.expectRevert(refusal(NovaAppRegistry.VersionNotEnrolled.selector, appId, versionId));
        registry.deprecateVersion(appId, versionId);
    }

    function test_a_version_is_revoked_for_good() public {
        registry.deprecateVersion(appId, versionId);
        vm.expectEmit(address(registry));
        emit NovaAppRegistry.VersionStatusSet(appId, versionId, INovaAppRegistry.VersionStatus.REVOKED);
        registry.revokeVersion(appId, versionId);
        vm.assertTrue(registry.getVersion(appId, versionId).status == INovaAppRegistry.VersionStatus.REVOKED);
        vm.expectRevert(refusal(NovaAppRegistry.VersionAlreadyRevoked.selector, appId, versionId));
        registry.revokeVersion(appId, versionId);
        vm.expectRevert(refusal(NovaAppRegistry.VersionNotEnrolled.selector, appId, versionId));
        registry.deprecateVersion(appId, versionId);
    }

    function test_revoking_a_version_leaves_its_instances_and_operators() public {
        node(address(1));
        registry.revokeVersion(appId, versionId);
        vm.assertEq(registry.getActiveInstances(appId).length, 1);
        vm.assertTrue(kms.isOperator(address(1)));
    }

    function test_what_does_not_exist_reverts() public {
        uint256 none = appId + 1;
        bytes memory noApp = abi.encodeWithSelector(NovaAppRegistry.AppNotFound.selector, none);
        vm.expectRevert(noApp);
        registry.getApp(none);
        vm.expectRevert(noApp);
        registry.setAppStatus(none, INovaAppRegistry.AppStatus.ACTIVE);
        vm.expectRevert(noApp);
        this.enrollIn(none);
        vm.expectRevert(refusal(NovaAppRegistry.VersionNotFound.selector, appId, 2));
        registry.getVersion(appId, 2);
        vm.expectRevert(refusal(NovaAppRegistry.VersionNotFound.selector, appId, 0));
        registry.getVersion(appId, 0);
        vm.expectRevert(refusal(NovaAppRegistry.VersionNotFound.selector, appId, 2));
        registry.deprecateVersion(appId, 2);
        vm.expectRevert(refusal(NovaAppRegistry.VersionNotFound.selector, none, versionId));
        registry.revokeVersion(none, versionId);
        vm.expectRevert(abi.encodeWithSelector(NovaAppRegistry.AppNotFound.selector, 0));
        registry.getApp(0);
    }

    function testFuzz_only_the_owner_may(address caller) public {
        vm.assume(caller != address(this));
        uint256 instanceId = node(address(1));
        bytes[] memory calls = new bytes[](9);
        calls[0] = abi.encodeCall(registry.createApp, (caller, 0, address(0), "", address(0)));
        calls[1] = abi.encodeCall(registry.setAppStatus, (appId, INovaAppRegistry.AppStatus.REVOKED));
        calls[2] = abi.encodeCall(registry.enrollVersion, (appId, "", 0, "", "", "", ""));
        calls[3] = abi.encodeCall(registry.deprecateVersion, (appId, versionId));
        calls[4] = abi.encodeCall(registry.revokeVersion, (appId, versionId));
        calls[5] = abi.encodeCall(registry.registerInstance, (appId, versionId, caller, "", "", caller, true));
        calls[6] = abi.encodeCall(registry.stopInstance, (instanceId));
        calls[7] = abi.encodeCall(registry.failInstance, (instanceId));
        calls[8] = abi.encodeCall(registry.setZkVerified, (instanceId, false));
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(caller);
            (bool ok, bytes memory reason) = address(registry).call(calls[i]);
            vm.assertFalse(ok);
            vm.assertEq(reason, abi.encodeWithSelector(NovaAppRegistry.NotOwner.selector));
        }
    }

    /// A call of its own, since expectRevert looks at the next one.
    function enrollIn(uint256 app) external {
        enroll(app);
    }

    function refusal(bytes4 selector, uint256 a, uint256 b) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a, b);
    }
}
