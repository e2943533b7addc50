// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the project reads of the platform's NovaAppRegistry: App -> Version -> Instance
/// @notice Order of enum values and of struct fields is the ABI of deployed registries.
interface INovaAppRegistry {
    enum AppStatus {
        ACTIVE,
        INACTIVE,
        REVOKED
    }

    enum VersionStatus {
        ENROLLED,
        DEPRECATED,
        REVOKED
    }

    enum InstanceStatus {
        ACTIVE,
        STOPPED,
        FAILED
    }

    struct App {
        uint256 id;
        address owner;
        bytes32 teeArch;
        address dappContract;
        string metadataUri;
        uint256 latestVersionId;
        uint256 createdAt;
        AppStatus status;
        /// Older deployments end before this field.
        address appWallet;
    }

    struct AppVersion {
        uint256 id;
        string versionName;
        bytes32 codeMeasurement;
        string imageUri;
        string auditUrl;
        string auditHash;
        string githubRunId;
        VersionStatus status;
        uint256 enrolledAt;
        address enrolledBy;
    }

    struct RuntimeInstance {
        uint256 id;
        uint256 appId;
        uint256 versionId;
        address operator;
        string instanceUrl;
        bytes teePubkey;
        address teeWalletAddress;
        bool zkVerified;
        InstanceStatus status;
        uint256 registeredAt;
    }

    /// @notice An application. Anybody may call.
    /// @param appId id of the application, from 1
    function getApp(uint256 appId) external view returns (App memory);

    /// @notice A version of an application. Anybody may call.
    /// @param appId id of the application
    /// @param versionId id of the version within the application, from 1
    function getVersion(uint256 appId, uint256 versionId) external view returns (AppVersion memory);

    /// @notice A running instance. Anybody may call.
    /// @param instanceId id of the instance, from 1
    function getInstance(uint256 instanceId) external view returns (RuntimeInstance memory);

    /// @notice The instance whose TEE wallet this is. Anybody may call.
    /// @param teeWallet address of the wallet
    /// @return the instance; all zero (id 0) for an unknown wallet, though a registry may revert too
    function getInstanceByWallet(address teeWallet) external view returns (RuntimeInstance memory);

    /// @notice TEE wallets of the ACTIVE instances of an application, in no order. Anybody may call.
    /// @param appId id of the application
    function getActiveInstances(uint256 appId) external view returns (address[] memory);

    /// @notice Ids of all instances of a version, whatever their status. Anybody may call.
    /// @param appId id of the application
    /// @param versionId id of the version within the application
    function getInstancesForVersion(uint256 appId, uint256 versionId) external view returns (uint256[] memory);
}
