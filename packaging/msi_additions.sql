-- SPDX-License-Identifier: LGPL-2.1-or-later
-- What the package needs and wixl cannot say: one query a line, run by msibuild. @VERSION@ is filled in.

-- The client is found by its name.
CREATE TABLE `Environment` (`Environment` CHAR(72) NOT NULL, `Name` CHAR(255) NOT NULL LOCALIZABLE, `Value` CHAR(255) LOCALIZABLE, `Component_` CHAR(72) NOT NULL PRIMARY KEY `Environment`)
INSERT INTO `Environment` (`Environment`, `Name`, `Value`, `Component_`) VALUES ('Path', '=-*PATH', '[~];[BINDIR]', 'Client')
INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('RemoveEnvironmentStrings', 3300)
INSERT INTO `InstallExecuteSequence` (`Action`, `Sequence`) VALUES ('WriteEnvironmentStrings', 5200)

-- Rollback actions: in script, on rollback, not impersonated, failure ignored, a program of the product.
UPDATE `CustomAction` SET `Type` = 3410 WHERE `Action` = 'ReinstallDriver'
UPDATE `CustomAction` SET `Type` = 3410 WHERE `Action` = 'UndoInstallDriver'

-- The event log finds the driver's texts. The driver works without: what fails here is ignored.
INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`) VALUES ('UnregisterEvents', 3170, 'EVENTSDIR', '"[System64Folder]wevtutil.exe" um "[EVENTSDIR]wnbdevents.xml"')
INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`) VALUES ('UndoUnregisterEvents', 3426, 'EVENTSDIR', '"[System64Folder]wevtutil.exe" im "[EVENTSDIR]wnbdevents.xml"')
INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`) VALUES ('UndoRegisterEvents', 3426, 'EVENTSDIR', '"[System64Folder]wevtutil.exe" um "[EVENTSDIR]wnbdevents.xml"')
INSERT INTO `CustomAction` (`Action`, `Type`, `Source`, `Target`) VALUES ('RegisterEvents', 3170, 'EVENTSDIR', '"[System64Folder]wevtutil.exe" im "[EVENTSDIR]wnbdevents.xml"')
INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('UndoUnregisterEvents', '&Driver = 2', 1625)
INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('UnregisterEvents', '&Driver = 2', 1630)
INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('UndoRegisterEvents', '&Driver = 3 AND NOT !Driver = 3', 6480)
INSERT INTO `InstallExecuteSequence` (`Action`, `Condition`, `Sequence`) VALUES ('RegisterEvents', '&Driver = 3 AND NOT !Driver = 3', 6490)

-- The old product goes inside the transaction, so that a failure brings it back. Installers compare three
-- numbers of a version only: what has the same three is replaced as well.
UPDATE `InstallExecuteSequence` SET `Sequence` = 1510 WHERE `Action` = 'RemoveExistingProducts'
DELETE FROM `Upgrade` WHERE `ActionProperty` = 'WIX_UPGRADE_DETECTED'
INSERT INTO `Upgrade` (`UpgradeCode`, `VersionMax`, `Attributes`, `ActionProperty`) VALUES ('{3D0E4C1B-6E0B-4B2B-9C4C-0E6B0D3A8F51}', '@VERSION@', 513, 'WIX_UPGRADE_DETECTED')

-- Files with a version are compared by it, not by their hash.
UPDATE `File` SET `Version` = '@VERSION@', `Language` = '1033' WHERE `File` = 'client'
UPDATE `File` SET `Version` = '@VERSION@', `Language` = '1033' WHERE `File` = 'library'
UPDATE `File` SET `Version` = '@VERSION@', `Language` = '1033' WHERE `File` = 'driver_sys'
DELETE FROM `MsiFileHash` WHERE `File_` = 'client'
DELETE FROM `MsiFileHash` WHERE `File_` = 'library'
DELETE FROM `MsiFileHash` WHERE `File_` = 'driver_sys'

-- Client and library are always installed.
UPDATE `Feature` SET `Attributes` = 16 WHERE `Feature` = 'Program'
