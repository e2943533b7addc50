// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {KMSRegistry} from "../src/KMSRegistry.sol";
import {NovaAppRegistry} from "../src/NovaAppRegistry.sol";
import {vm} from "../test/support/Vm.sol";

/// @title Deploys both registries to a local network, with a KMS application whose owner is the sender
contract Deploy {
    bool public constant IS_SCRIPT = true;
    /// Where forge listens for lines to print.
    address private constant CONSOLE = 0x000000000000000000636F6e736F6c652e6c6f67;

    /// @notice Deploys, creates the KMS application and prints one line of JSON. The sender (of
    /// --private-key or --sender) becomes owner of both contracts.
    /// @return registry the NovaAppRegistry
    /// @return kms the KMSRegistry
    /// @return appId id of the KMS application
    function run() external returns (NovaAppRegistry registry, KMSRegistry kms, uint256 appId) {
        vm.startBroadcast();
        (, address owner,) = vm.readCallers();
        registry = new NovaAppRegistry(owner);
        kms = new KMSRegistry(owner, address(registry));
        appId = registry.createApp(owner, "sim", address(kms), "local KMS", address(0));
        kms.setKmsAppId(appId);
        vm.stopBroadcast();
        print(
            string.concat(
                '{"novaAppRegistry":"',
                vm.toString(address(registry)),
                '","kmsRegistry":"',
                vm.toString(address(kms)),
                '","kmsAppId":',
                vm.toString(appId),
                "}"
            )
        );
    }

    function print(string memory line) private view {
        (bool ok,) = CONSOLE.staticcall(abi.encodeWithSignature("log(string)", line));
        ok; // nothing depends on it
    }
}
