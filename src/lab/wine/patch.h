// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace wnbd::lab::wine {

/// Puts the host's kernel functions into the import tables of all loaded modules that import
/// storport.sys, and has the same done to those that will be loaded. Called once, from DllMain.
void patch_importers();

}  // namespace wnbd::lab::wine
