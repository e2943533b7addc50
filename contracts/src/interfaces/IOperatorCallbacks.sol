// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What a NovaAppRegistry tells an application's dappContract
interface IOperatorCallbacks {
    /// @notice An instance became ACTIVE.
    /// @param teeWallet TEE wallet of the instance
    /// @param appId id of the application
    /// @param versionId id of the instance's version
    /// @param instanceId id of the instance
    function addOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId) external;

    /// @notice An instance is no longer ACTIVE.
    /// @param teeWallet TEE wallet of the instance
    /// @param appId id of the application
    /// @param versionId id of the instance's version
    /// @param instanceId id of the instance
    function removeOperator(address teeWallet, uint256 appId, uint256 versionId, uint256 instanceId) external;
}
