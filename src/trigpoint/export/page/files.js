/** Files that are dropped or chosen, folders with what they hold. */

import { isImage } from "./heads.js";

/** @typedef {{name: string, file: File}} Given name: the path from the folder that was dropped on */

/** @param {FileList} list @returns {Given[]} */
export const chosen = (list) => [...list].map((file) => ({ name: file.webkitRelativePath || file.name, file }));

/** @param {DataTransfer} transfer @returns {Promise<Given[]>} */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()); // at once: the list is empty later
  const plain = [...transfer.files];
  /** @type {Given[]} */
  const found = [];
  for (const [i, entry] of entries.entries()) {
    if (entry) await walk(entry, found);
    else if (plain[i]) found.push({ name: plain[i].name, file: plain[i] });
  }
  return found;
}

/** @param {FileSystemEntry} entry @param {Given[]} found */
async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    found.push({ name: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const one of some) await walk(one, found);
  }
}

/** Those that are meant as images, by name, and how many are not. @param {Given[]} given */
export async function images(given) {
  const kept = [];
  for (const one of given) if (await isImage(one.file)) kept.push(one);
  kept.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  return { kept, passed: given.length - kept.length };
}
