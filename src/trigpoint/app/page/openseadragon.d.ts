declare const OpenSeadragon: any;
